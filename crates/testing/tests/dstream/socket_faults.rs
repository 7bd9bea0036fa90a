//! Servers that are not there, and servers that send what they should not.

use std::io::Write;
use std::net::TcpStream;

use tidemill_streaming::{LongLines, SocketOptions, StreamEvent, Utf8Policy};

use crate::socket::{gather, listen, strings};
use crate::support::{Bench, Case, Live, Outcome, alone, collect, driver_case, local_case, take};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // S-083
        local_case(
            "a_refused_connection_says_what_it_tries_and_how_to_start_a_server",
            refused,
        ),
        // S-083
        local_case("a_missing_server_is_told_of_less_and_less_often", told_less),
        local_case("an_unknown_host_is_reported_by_name", unknown_host),
        // S-190
        local_case(
            "a_stop_does_not_wait_for_a_connection",
            stop_while_connecting,
        ),
        local_case(
            "a_server_that_closes_at_once_is_reported_each_time",
            closes_at_once,
        ),
        driver_case("binary_garbage_is_lines_of_replaced_bytes", garbage),
        driver_case("replaced_bytes_of_the_last_block_are_told", last_block),
        driver_case("a_long_line_is_dropped_and_counted", long_line),
        local_case(
            "a_long_line_gives_up_the_connection_when_told_so",
            strict_lines,
        ),
        local_case(
            "bytes_that_are_not_utf8_give_up_the_connection_when_told_so",
            strict_utf8,
        ),
        local_case("an_endless_line_takes_no_memory", endless_line),
        local_case("a_socket_is_left_while_it_is_silent", stop_while_silent),
        local_case("a_silent_connection_is_made_again", idle),
    ]
}

fn lines(
    bench: &Bench,
    host: &str,
    port: u16,
    options: SocketOptions,
) -> (Live, std::sync::mpsc::Receiver<Vec<String>>) {
    let program = bench.program();
    let stream = program.ssc.socket_text_stream_with(host, port, options);
    let rows = collect(&strings(&stream));
    (program.start(), rows)
}

fn told(live: &Live) -> String {
    live.receiver_error().last_error.unwrap()
}

fn refused(bench: &Bench) -> Outcome {
    let (server, port) = listen();
    drop(server);
    let (live, rows) = lines(bench, "localhost", port, SocketOptions::default());
    let text = told(&live);
    for part in [
        "error connecting",
        &format!("127.0.0.1:{port}"),
        &format!("address=localhost:{port}"),
        "no server answers; it keeps trying to connect, with waits of up to 2s",
        "Connection refused",
        "next_try_in_ms=",
        &format!("hint=start one, for example `nc -lk {port}`"),
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    // The back-off ends on the stream's clock, and it is reported again.
    live.advance();
    assert!(told(&live).contains("error connecting"));
    assert_eq!(take(&rows), Vec::<String>::new());
    Ok(())
}

/// A server is missing for about a minute, then it is there.
fn told_less(bench: &Bench) -> Outcome {
    let show = |bench: &Bench| {
        let (server, port) = listen();
        drop(server);
        let (live, rows) = lines(bench, "127.0.0.1", port, SocketOptions::default());
        for _ in 0..20 {
            assert!(told(&live).contains("error connecting"));
            live.clock.advance(std::time::Duration::from_secs(3));
        }
        let server = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
        let mut client = again(&live, &server);
        client.write_all(b"here\n").unwrap();
        while take(&rows) != ["here"] {
            live.advance();
        }
        Ok(())
    };
    let name = "a_missing_server_is_told_of_less_and_less_often";
    alone(bench, name, show, |text| {
        let told: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("SocketReceiver-0"))
            .collect();
        // At 0, from 10 and from 30 seconds on.
        let [first, second, third, found, ..] = told[..] else {
            panic!("{text}");
        };
        assert!(!first.contains("times="), "{text}");
        for again in [second, third] {
            assert!(again.contains("times="), "{text}");
        }
        assert!(found.starts_with("tidemill: SocketReceiver-0: connected to 127.0.0.1:"));
        assert!(found.ends_with(" attempts"), "{text}");
    })
}

/// A server that answers nobody: as many wait for it as may.
fn stop_while_connecting(bench: &Bench) -> Outcome {
    let (server, port) = listen();
    let address = server.local_addr().unwrap();
    let patience = std::time::Duration::from_millis(200);
    let waiting: Vec<TcpStream> = (0..10_000)
        .map_while(|_| TcpStream::connect_timeout(&address, patience).ok())
        .collect();
    assert!(waiting.len() < 10_000);
    for stop in [
        tidemill_streaming::Stop::now(),
        tidemill_streaming::Stop::gracefully(),
    ] {
        let options = SocketOptions {
            connect_timeout: std::time::Duration::from_secs(3_600),
            ..SocketOptions::default()
        };
        let (live, _rows) = lines(bench, "127.0.0.1", port, options);
        live.event(|event| matches!(event, StreamEvent::ReceiverStarted(_)).then_some(()));
        // The clock stands still: there is no patience to run out.
        live.running.stop(stop)?;
        let errors = live.events.into_iter();
        let errors = errors.filter(|event| matches!(event, StreamEvent::ReceiverError(_)));
        assert_eq!(errors.count(), 0);
    }
    Ok(())
}

fn unknown_host(bench: &Bench) -> Outcome {
    let (live, rows) = lines(bench, "no such host", 9, SocketOptions::default());
    let text = told(&live);
    assert!(
        text.starts_with("error connecting: host name cannot be resolved: ")
            && text.contains(
                "; it keeps trying to connect, with waits of up to 2s address=no such host:9"
            ),
        "{text}"
    );
    live.tick();
    assert_eq!(take(&rows), Vec::<String>::new());
    Ok(())
}

fn closes_at_once(bench: &Bench) -> Outcome {
    let (server, port) = listen();
    let (live, _rows) = lines(bench, "127.0.0.1", port, SocketOptions::default());
    for _ in 0..5 {
        drop(server.accept().unwrap());
        let text = told(&live);
        assert!(
            text.contains("no more data") || text.contains("error receiving"),
            "{text}"
        );
        live.clock.advance(std::time::Duration::from_secs(3));
    }
    Ok(())
}

fn garbage(bench: &Bench) -> Outcome {
    let (server, port) = listen();
    let (live, rows) = lines(bench, "127.0.0.1", port, SocketOptions::default());
    let (mut client, _) = server.accept().unwrap();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut expected = Vec::new();
    let mut sent = Vec::new();
    for _ in 0..200 {
        let mut line = Vec::new();
        for _ in 0..random % 90 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            line.push(random.to_le_bytes()[3]);
        }
        random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        line.retain(|byte| !matches!(byte, b'\n' | b'\r'));
        expected.push(String::from_utf8_lossy(&line).into_owned());
        sent.extend_from_slice(&line);
        sent.push(b'\n');
    }
    client.write_all(&sent).unwrap();
    assert_eq!(gather(&live, &rows, expected.len()), expected);
    live.running.stop(tidemill_streaming::Stop::now())?;
    let stopped = live.event(|event| match event {
        StreamEvent::ReceiverStopped(info) => Some(info),
        _ => None,
    });
    let text = stopped.last_error.unwrap();
    assert!(text.contains("replaced_sequences="), "{text}");
    Ok(())
}

/// Nothing comes after it, and the stop is what makes a block of it.
fn last_block(bench: &Bench) -> Outcome {
    let (server, port) = listen();
    let (live, rows) = lines(bench, "127.0.0.1", port, SocketOptions::default());
    let (mut client, _) = server.accept().unwrap();
    client.write_all(b"caf\xe9\n").unwrap();
    drop(client);
    assert!(told(&live).contains("had no more data"));
    live.running.stop(tidemill_streaming::Stop::gracefully())?;
    let text = told(&live);
    assert!(
        text.ends_with("dropped_lines=0 replaced_sequences=1"),
        "{text}"
    );
    assert_eq!(rows.into_iter().collect::<Vec<_>>(), [["caf\u{fffd}"]]);
    Ok(())
}

fn long_line(bench: &Bench) -> Outcome {
    let (server, port) = listen();
    let options = SocketOptions {
        max_line_bytes: 8,
        ..SocketOptions::default()
    };
    let (live, rows) = lines(bench, "127.0.0.1", port, options);
    let (mut client, _) = server.accept().unwrap();
    client
        .write_all(b"12345678\n123456789\nshort\r\nmuch too long for eight\r\nend\n")
        .unwrap();
    assert_eq!(gather(&live, &rows, 3), ["12345678", "short", "end"]);
    client.write_all(b"another one that is too long\n").unwrap();
    loop {
        let text = told(&live);
        if text.contains("dropped_lines=3") {
            return Ok(());
        }
        assert!(
            text.contains("input was not as it should be dropped_lines="),
            "{text}"
        );
    }
}

/// The next connection, which may come after some back-off.
fn again(live: &Live, server: &std::net::TcpListener) -> TcpStream {
    server.set_nonblocking(true).unwrap();
    loop {
        match server.accept() {
            Ok((client, _)) => return client,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => live.advance(),
            Err(error) => panic!("{error}"),
        }
        std::thread::yield_now();
    }
}

fn strict(bench: &Bench, options: SocketOptions, bad: &[u8], why: &str) -> Outcome {
    let (server, port) = listen();
    let (live, rows) = lines(bench, "127.0.0.1", port, options);
    let (mut client, _) = server.accept().unwrap();
    client.write_all(&[b"good\n", bad].concat()).unwrap();
    let text = told(&live);
    assert!(text.contains("dropped_lines=1"), "{text}");
    let text = told(&live);
    assert!(text.contains(why), "{text}");
    let mut client = again(&live, &server);
    client.write_all(b"\nafter\n").unwrap();
    let mut seen = Vec::new();
    while !seen.contains(&"after".to_owned()) {
        seen.extend(take(&rows));
        live.advance();
    }
    assert_eq!(seen, ["good", "", "after"]);
    Ok(())
}

fn strict_lines(bench: &Bench) -> Outcome {
    let options = SocketOptions {
        max_line_bytes: 8,
        long_lines: LongLines::Fail,
        ..SocketOptions::default()
    };
    strict(
        bench,
        options,
        b"much too long\r",
        "line is too long; it keeps trying to connect",
    )
}

fn strict_utf8(bench: &Bench) -> Outcome {
    let options = SocketOptions {
        utf8: Utf8Policy::Fail,
        ..SocketOptions::default()
    };
    strict(bench, options, b"caf\xe9\r", "line is not UTF-8")
}

/// Peak memory of this process in KiB, where the system tells.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// A line of two gibibytes, in a process of its own: other cases take memory too.
fn endless_line(bench: &Bench) -> Outcome {
    alone(
        bench,
        "an_endless_line_takes_no_memory",
        endless_line_alone,
        |_| {},
    )
}

fn endless_line_alone(bench: &Bench) -> Outcome {
    let (server, port) = listen();
    let (live, rows) = lines(bench, "127.0.0.1", port, SocketOptions::default());
    let (mut client, _) = server.accept().unwrap();
    let before = peak_kib();
    let megabyte = vec![b'x'; 1 << 20];
    client.write_all(b"before\n").unwrap();
    for _ in 0..2 << 10 {
        client.write_all(&megabyte).unwrap();
    }
    client.write_all(b"\nafter\n").unwrap();
    assert_eq!(gather(&live, &rows, 2), ["before", "after"]);
    if let (Some(before), Some(after)) = (before, peak_kib()) {
        assert!(after - before < 24 << 10, "{} KiB more", after - before);
    }
    Ok(())
}

fn stop_while_silent(bench: &Bench) -> Outcome {
    let (server, port) = listen();
    let (live, _rows) = lines(bench, "127.0.0.1", port, SocketOptions::default());
    let _client = server.accept().unwrap();
    live.running.stop(tidemill_streaming::Stop::gracefully())?;
    let last = live.events.into_iter().last();
    assert!(
        matches!(last, Some(StreamEvent::ReceiverStopped(_))),
        "{last:?}"
    );
    Ok(())
}

fn idle(bench: &Bench) -> Outcome {
    let (server, port) = listen();
    let options = SocketOptions {
        idle_timeout: Some(std::time::Duration::from_secs(30)),
        ..SocketOptions::default()
    };
    let (live, _rows) = lines(bench, "127.0.0.1", port, options);
    let _silent = server.accept().unwrap();
    let _next = again(&live, &server);
    assert!(told(&live).contains("nothing came for the idle timeout"));
    Ok(())
}
