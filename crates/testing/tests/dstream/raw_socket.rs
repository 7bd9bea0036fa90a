//! Whole blocks from a TCP server.

use std::io::Write;
use std::net::TcpStream;

use tidemill_core::{ErrorKind, codec};
use tidemill_streaming::RawSocketOptions;

use crate::socket::{gather, listen};
use crate::support::{Bench, Case, Live, Outcome, collect, driver_case, local_case, take};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-084
        driver_case("raw_frames_are_blocks", frames),
        // S-085
        driver_case("raw_frames_that_cannot_be_are_refused", refused),
        local_case("raw_socket_options_are_checked_at_the_start", options),
    ]
}

type Record = (u64, String);

fn frame(records: &[Record]) -> Vec<u8> {
    let bytes = codec::encode(records).unwrap();
    let len = i32::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes()[..], &bytes].concat()
}

fn records(numbers: std::ops::Range<u64>) -> Vec<Record> {
    numbers.map(|n| (n, format!("record {n}"))).collect()
}

fn frames(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (server, port) = listen();
    let stream = program.ssc.raw_socket_stream::<Record>("127.0.0.1", port);
    let sizes = collect(&stream.map_partitions(|records| [records.count() as u64]));
    let rows = collect(&stream);
    let live = program.start();
    let (mut client, _) = server.accept().unwrap();
    // Two frames and one without bytes, in pieces that end anywhere.
    let bytes = [
        frame(&records(0..500)),
        vec![0; 4],
        frame(&records(500..501)),
    ]
    .concat();
    for piece in bytes.chunks(97) {
        client.write_all(piece).unwrap();
    }
    assert_eq!(gather(&live, &rows, 501), records(0..501));
    // Each frame is a block, and each block a partition.
    let partitions: Vec<u64> = sizes.try_iter().flatten().collect();
    assert_eq!(partitions, [500, 1]);
    Ok(())
}

/// Lets the clock run until the receiver connects again.
fn accept(live: &Live, server: &std::net::TcpListener) -> TcpStream {
    server.set_nonblocking(true).unwrap();
    loop {
        match server.accept() {
            Ok((client, _)) => return client,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                live.tick();
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn refused(bench: &Bench) -> Outcome {
    let program = bench.program();
    let (server, port) = listen();
    let options = RawSocketOptions {
        max_block_bytes: 1_000,
        ..RawSocketOptions::default()
    };
    let stream = program
        .ssc
        .raw_socket_stream_with::<Record>("127.0.0.1", port, options);
    let (sender, rows) = std::sync::mpsc::channel();
    stream.for_each_rdd(move |rdd, _| {
        let records = rdd.collect()?;
        if !records.is_empty() {
            sender.send(records)?;
        }
        Ok(())
    });
    let live = program.start();
    let good = frame(&records(0..3));
    for (bad, text) in [
        (
            (-1_i32).to_be_bytes().to_vec(),
            "invalid negative block length",
        ),
        (1_001_i32.to_be_bytes().to_vec(), "exceeds"),
        (
            [&5_i32.to_be_bytes()[..], b"\xFF\xFF\xFF\xFF\x01"].concat(),
            "frame is not a block",
        ),
        (good[..good.len() - 1].to_vec(), "within a block"),
    ] {
        let mut client = accept(&live, &server);
        client.write_all(&[&good[..], &bad].concat()).unwrap();
        drop(client);
        let told = live.receiver_error().last_error.unwrap();
        assert!(told.contains(text), "{told}");
        // What came whole before is kept.
        live.tick();
        assert_eq!(take(&rows), records(0..3));
    }
    Ok(())
}

fn options(bench: &Bench) -> Outcome {
    for (host, port, max_block_bytes) in [("localhost", 0, 1), ("", 1, 1), ("localhost", 1, 0)] {
        let program = bench.program();
        let options = RawSocketOptions {
            max_block_bytes,
            ..RawSocketOptions::default()
        };
        let stream = program
            .ssc
            .raw_socket_stream_with::<u8>(host, port, options);
        collect(&stream);
        let error = program.try_start().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(
            error.to_string().contains("raw_socket_stream at "),
            "{error}"
        );
    }
    Ok(())
}
