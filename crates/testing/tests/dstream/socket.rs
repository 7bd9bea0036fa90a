//! Lines from a TCP server.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::Receiver;

use tidemill_core::{Context, Data, Text};
use tidemill_streaming::{DStream, PairDStream, StreamSettings};

use crate::support::{
    Bench, Case, Live, Outcome, Program, case, collect, driver_case, local_case, sorted, take,
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("words_of_a_socket_are_counted", word_count),
        // S-022
        local_case("a_socket_with_one_slot_works", one_slot),
        // S-082
        driver_case("line_ends_of_all_kinds_end_lines", line_ends),
        // S-082
        driver_case("lines_are_whole_however_they_come", split_chunks),
        // S-083
        driver_case("a_server_that_comes_back_is_found", reconnects),
        driver_case("the_last_line_needs_no_end", unfinished_line),
        driver_case("a_converter_makes_records_of_bytes", converter),
    ]
}

/// A server on a free port, and the number of that port.
pub(crate) fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

pub(crate) fn strings(stream: &DStream<Text>) -> DStream<String> {
    stream.map(|line| line.to_string())
}

/// Runs batches until so many records have come.
pub(crate) fn gather<T: Data>(live: &Live, rows: &Receiver<Vec<T>>, num_records: usize) -> Vec<T> {
    let mut seen = Vec::new();
    while seen.len() < num_records {
        live.tick();
        seen.extend(take(rows));
        std::thread::yield_now();
    }
    seen
}

fn word_count(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (server, port) = listen();
    let counts = program
        .ssc
        .socket_text_stream("localhost", port)
        .flat_map(|line| line.split(' '))
        .map(|word| (word, 1_u64))
        .reduce_by_key(|a, b| a + b)
        .map(|(word, count)| (word.to_string(), count));
    let rows = collect(&counts);
    let live = program.start();
    let (mut client, _) = server.accept().unwrap();
    client
        .write_all(b"to be or not to be\nto be sure\nthe end\n")
        .unwrap();
    let mut total = std::collections::BTreeMap::new();
    while !total.contains_key("end") {
        live.tick();
        for (word, count) in take(&rows) {
            *total.entry(word).or_insert(0) += count;
        }
        std::thread::yield_now();
    }
    let expected = [
        ("be", 3),
        ("end", 1),
        ("not", 1),
        ("or", 1),
        ("sure", 1),
        ("the", 1),
        ("to", 3),
    ];
    assert_eq!(
        total.into_iter().collect::<Vec<_>>(),
        expected.map(|(w, n)| (w.to_owned(), n))
    );
    Ok(())
}

/// Receivers have threads of their own: the one slot is free for tasks.
fn one_slot(_: &Bench) -> Outcome {
    for master in ["local", "local[1]"] {
        let builder = Context::builder().master(master.parse()?);
        let program = Program::on(builder, StreamSettings::default());
        let (server, port) = listen();
        let stream = program.ssc.socket_text_stream("127.0.0.1", port);
        let rows = collect(&strings(&stream).repartition(3));
        let live = program.start();
        let (mut client, _) = server.accept().unwrap();
        client.write_all(b"one\ntwo\n").unwrap();
        let seen = gather(&live, &rows, 2);
        assert_eq!(sorted(seen), ["one", "two"]);
    }
    Ok(())
}

fn line_ends(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (server, port) = listen();
    let stream = program.ssc.socket_text_stream("127.0.0.1", port);
    let rows = collect(&strings(&stream));
    let live = program.start();
    let (mut client, _) = server.accept().unwrap();
    client
        .write_all(b"unix\ndos\r\n\n\r\nmac\r\rlast\n")
        .unwrap();
    let expected = ["unix", "dos", "", "", "mac", "", "last"];
    assert_eq!(gather(&live, &rows, expected.len()), expected);
    Ok(())
}

/// A batch comes after each few bytes; no line is cut by it.
fn split_chunks(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (server, port) = listen();
    let stream = program.ssc.socket_text_stream("127.0.0.1", port);
    let rows = collect(&strings(&stream));
    let live = program.start();
    let (mut client, _) = server.accept().unwrap();
    client.set_nodelay(true).unwrap();
    let lines: Vec<String> = (0..40)
        .map(|n| format!("line {n} é€ {}", "x".repeat(n)))
        .collect();
    let bytes = (lines.join("\r\n") + "\r\n").into_bytes();
    let mut seen = Vec::new();
    for chunk in bytes.chunks(7) {
        client.write_all(chunk).unwrap();
        live.tick();
        seen.extend(take(&rows));
    }
    let missing = lines.len() - seen.len();
    seen.extend(gather(&live, &rows, missing));
    assert_eq!(seen, lines);
    Ok(())
}

fn reconnects(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (server, port) = listen();
    let stream = program.ssc.socket_text_stream("127.0.0.1", port);
    let rows = collect(&strings(&stream));
    let live = program.start();
    for round in 0..3 {
        // The clock moves on with the batches, and so the waits between attempts end.
        server.set_nonblocking(true).unwrap();
        let mut client: TcpStream = loop {
            match server.accept() {
                Ok((client, _)) => break client,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    live.tick();
                    assert_eq!(take(&rows), Vec::<String>::new());
                }
                Err(error) => panic!("{error}"),
            }
        };
        client
            .write_all(format!("a {round}\nb {round}\n").as_bytes())
            .unwrap();
        assert_eq!(
            gather(&live, &rows, 2),
            [format!("a {round}"), format!("b {round}")]
        );
        drop(client);
        let told = live.receiver_error().last_error.unwrap();
        assert!(
            told.contains("socket data stream had no more data"),
            "{told}"
        );
    }
    Ok(())
}

fn unfinished_line(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (server, port) = listen();
    let stream = program.ssc.socket_text_stream("127.0.0.1", port);
    let rows = collect(&strings(&stream));
    let live = program.start();
    let (mut client, _) = server.accept().unwrap();
    client.write_all(b"one\ntwo\r\nthree").unwrap();
    drop(client);
    assert_eq!(gather(&live, &rows, 3), ["one", "two", "three"]);
    Ok(())
}

fn converter(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (server, port) = listen();
    let numbers = program
        .ssc
        .socket_stream("127.0.0.1", port, |bytes, store| {
            let mut number = [0; 4];
            while bytes.read(&mut number[..1])? == 1 {
                bytes.read_exact(&mut number[1..])?;
                store(u32::from_be_bytes(number));
            }
            Ok(())
        });
    let rows = collect(&numbers);
    let live = program.start();
    let (mut client, _) = server.accept().unwrap();
    for number in 0..1_000_u32 {
        client.write_all(&number.to_be_bytes()).unwrap();
    }
    assert_eq!(gather(&live, &rows, 1_000), (0..1_000).collect::<Vec<_>>());
    client.write_all(&[1, 2]).unwrap();
    drop(client);
    let told = live.receiver_error().last_error.unwrap();
    assert!(
        told.contains("error receiving data") && told.contains("fill whole buffer"),
        "{told}"
    );
    Ok(())
}
