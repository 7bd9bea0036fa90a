//! Who is let in.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::Arc;

use tidemill_core::remote::{
    EXECUTOR_VARIABLE, Hello, PROTOCOL_VERSION, Request, read_frame, write_frame,
};
use tidemill_core::travel::{BuildId, Image};
use tidemill_core::{Context, ErrorKind};
use tidemill_testing::Loopback;
use tidemill_testing::loopback::{Door, welcome};

fn build_id() -> BuildId {
    Image::current().unwrap().build_id()
}

fn executor(program: &std::path::Path, address: &str) -> Child {
    let mut command = Command::new(program);
    command.env(EXECUTOR_VARIABLE, address).spawn().unwrap()
}

pub(crate) fn let_in() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(&folder.path().join("door"), build_id()).unwrap();
    let mut child = executor(&std::env::current_exe().unwrap(), &door.address());
    let stream = door.admit().unwrap();
    // It ends by itself when nobody speaks to it any more.
    drop(stream);
    assert!(child.wait().unwrap().success());
}

pub(crate) fn another_build() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    // One byte at the end of the file is another build, and runs all the same. Copied by another
    // process: a file that this one has open for writing could not be started.
    let copied = Command::new("sh")
        .args(["-c", r#"cp "$0" "$1" && printf x >> "$1""#])
        .args([&std::env::current_exe().unwrap(), &other])
        .status();
    assert!(copied.unwrap().success());
    let door = Door::open(&folder.path().join("door"), build_id()).unwrap();
    let mut child = executor(&other, &door.address());
    let error = door.admit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("another build"), "{error}");
    assert_ne!(error.fact("its"), error.fact("ours"));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

pub(crate) fn wrong_secret() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(&folder.path().join("door"), build_id()).unwrap();
    let (path, secret) = door
        .address()
        .rsplit_once(' ')
        .map(|(p, s)| (p.to_owned(), s.to_owned()))
        .unwrap();
    assert_eq!(secret.len(), 32);
    let address = format!("{path} {}", "0".repeat(32));
    let mut child = executor(&std::env::current_exe().unwrap(), &address);
    let error = door.admit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("secret") && !error.report().contains(&secret));
    assert_eq!(child.wait().unwrap().code(), Some(1));
    // The one who is waited for still finds the door open.
    let mut child = executor(&std::env::current_exe().unwrap(), &door.address());
    drop(door.admit().unwrap());
    assert!(child.wait().unwrap().success());
}

/// What the driver answers to a hello.
fn answer(hello: &Hello, secret: &str) -> (Result<(), tidemill_core::Error>, Request) {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    write_frame(&mut theirs, hello).unwrap();
    let verdict = welcome(&mut ours, secret, build_id());
    (verdict, read_frame(&mut theirs).unwrap().unwrap())
}

pub(crate) fn another_protocol() {
    let hello = |protocol| Hello {
        protocol,
        build_id: build_id(),
        secret: "s".to_owned(),
    };
    let (verdict, told) = answer(&hello(PROTOCOL_VERSION), "s");
    assert!(verdict.is_ok() && matches!(told, Request::Welcome(Ok(()))));
    let (verdict, told) = answer(&hello(PROTOCOL_VERSION + 1), "s");
    let error = verdict.unwrap_err();
    assert!(error.message().contains("another protocol"), "{error}");
    match told {
        Request::Welcome(Err(reason)) => assert_eq!(reason.report(), error.report()),
        other => panic!("told {other:?}"),
    }
}

pub(crate) fn garbage() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    theirs
        .write_all(b"GET / HTTP/1.1\r\nHost: tidemill\r\n\r\n")
        .unwrap();
    drop(theirs);
    let error = welcome(&mut ours, "s", build_id()).unwrap_err();
    assert!(matches!(
        error.kind(),
        ErrorKind::Data | ErrorKind::Unavailable
    ));
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let error = welcome(&mut ours, "s", build_id()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

pub(crate) fn private_folder() {
    let loopback = Arc::new(Loopback::process(1, None).unwrap());
    let ctx = Context::builder()
        .backend(loopback.clone())
        .build()
        .unwrap();
    assert_eq!(ctx.range(0..3).count().unwrap(), 3);
    let environ = format!("/proc/{}/environ", loopback.child_ids()[0]);
    let environ = String::from_utf8(std::fs::read(environ).unwrap()).unwrap();
    let address = environ
        .split('\0')
        .find_map(|variable| variable.strip_prefix("TIDEMILL_EXECUTOR=unix:"));
    let (socket, _) = address.unwrap().rsplit_once(' ').unwrap();
    let folder = std::path::Path::new(socket).parent().unwrap();
    let mode = std::fs::metadata(folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // Whoever was to come in has come in.
    assert!(!std::path::Path::new(socket).exists());
    let folder = folder.to_owned();
    ctx.stop();
    drop((ctx, loopback));
    assert!(!folder.exists());
}
