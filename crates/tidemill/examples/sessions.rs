//! Sessions of a website's visitors: each is printed when its visitor has not clicked for a while.
//!
//! The state of a visitor is the session so far. `map_with_state` with a time-out calls the
//! function once more for a visitor who has gone, without a click, and then forgets the visitor.
//!
//! `cargo run --release --example sessions` takes clicks of its own; `… -- localhost 9999` connects
//! to a server of lines such as `alice /basket`.

mod support;

use serde::{Deserialize, Serialize};
use support::{Options, Sessions};
use tidemill::prelude::*;

#[derive(Clone, Serialize, Deserialize)]
struct Session {
    num_pages: u64,
    first: Time,
    last: Time,
}

fn main() -> Result<()> {
    tidemill::init();
    let options = Options::<Sessions>::from_args("Sessions of a website's visitors");
    let ctx = Context::new(&options.master)?;
    let ssc = StreamingContext::new(&ctx, options.batch_duration())?;

    let (host, port) = options.address(&ssc)?;
    let clicks = ssc
        .socket_text_stream(&host, port)
        .flat_map(|line| Some((line.words().next()?, line.words().nth(1)?)));
    let spec = StateSpec::new().timeout(options.gap());
    let ended = clicks.map_with_state_at(spec, |time, user, page, state: &mut State<Session>| {
        let session = state.get().cloned();
        if page.is_none() {
            return session.map(|session| {
                let (pages, span) = (session.num_pages, session.last.since(session.first));
                format!("{user}: {pages} pages in {span:?}")
            });
        }
        state.update(Session {
            num_pages: session.as_ref().map_or(0, |session| session.num_pages) + 1,
            first: session.map_or(time, |session| session.first),
            last: time,
        });
        None
    });
    ended.print();

    options.run(ssc)
}
