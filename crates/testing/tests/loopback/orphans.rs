//! No child outlives its driver, however that ends.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use tidemill_core::Context;
use tidemill_testing::Loopback;

/// How this program is asked to be the driver of the test below.
const VARIABLE: &str = "TIDEMILL_TEST_DRIVER_DIES";

pub(crate) fn end_with_backend() {
    let loopback = Arc::new(Loopback::process(2, None).unwrap());
    let ctx = Context::builder()
        .backend(loopback.clone())
        .build()
        .unwrap();
    assert_eq!(
        ctx.range(0..100).repartition(8).unwrap().count().unwrap(),
        100
    );
    let ids = loopback.child_ids();
    assert_eq!(ids.len(), 2);
    ctx.stop();
    assert!(loopback.child_ids().is_empty());
    // Ended and waited for: not even a zombie is left.
    assert!(
        ids.iter()
            .all(|id| !Path::new(&format!("/proc/{id}")).exists())
    );
}

/// Starts two executors that are busy for ever, then dies as `how` says.
pub(crate) fn be_a_driver_that_dies() {
    let Ok(how) = std::env::var(VARIABLE) else {
        return;
    };
    let backend = Arc::new(Loopback::process(2, None).unwrap());
    let ctx = Context::builder().backend(backend).build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("busy.sock");
    let busy = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let endless = ctx
        .range_by(0, 2, 1)
        .unwrap()
        .with(path.display().to_string())
        .map(|path, _: i64| -> i64 {
            drop(std::os::unix::net::UnixStream::connect(path));
            // Busy without a record: not even a cancelled job would end it.
            loop {
                std::hint::spin_loop();
            }
        });
    std::thread::spawn(move || endless.count());
    busy.accept().unwrap();
    busy.accept().unwrap();
    match how.as_str() {
        "abort" => std::process::abort(),
        // Unwinds through `main`, past everything that would end the children in order.
        _ => {
            std::mem::forget(ctx);
            panic!("a test program that panics");
        }
    }
}

/// The children hold the driver's standard error: it ends when the last of them has ended.
pub(crate) fn driver_dies() {
    // What such a driver cannot clean up lies in here.
    let folder = tempfile::tempdir().unwrap();
    for how in ["abort", "panic"] {
        let mut driver = Command::new(std::env::current_exe().unwrap())
            .env(VARIABLE, how)
            .env("TMPDIR", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = driver.stderr.take().unwrap();
        let (ended, end) = channel();
        std::thread::spawn(move || {
            let mut said = Vec::new();
            let result = stderr.read_to_end(&mut said);
            ended.send(result.map(|_| String::from_utf8_lossy(&said).into_owned()))
        });
        let said = end.recv_timeout(Duration::from_secs(60));
        let said = said.expect("an executor outlived its driver").unwrap();
        assert!(!driver.wait().unwrap().success());
        assert_eq!(
            said.contains("a test program that panics"),
            how == "panic",
            "{said}"
        );
    }
}
