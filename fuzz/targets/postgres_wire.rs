//! Any bytes as first packet and as messages, whole and in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::wire::postgres::{frame, message, report, startup};

const BYTES_MAX: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(size)) = startup::size(bytes)
        && let Some(packet) = bytes.get(..size)
    {
        let _ = startup::read(packet);
    }
    let _ = startup::read(bytes);
    messages(bytes);
    for (tag, body) in [
        (b'Q', bytes),
        (b'P', bytes),
        (b'B', bytes),
        (b'E', bytes),
        (b'D', bytes),
    ] {
        one(tag, body);
    }
});

/// Cuts messages off as a session does.
fn messages(mut bytes: &[u8]) {
    while let Ok(Some((tag, body, size))) = frame::whole(bytes, BYTES_MAX) {
        assert!(
            size >= 5 && size <= bytes.len(),
            "a message that is not there"
        );
        one(tag, body);
        bytes = &bytes[size..];
    }
}

fn one(tag: u8, body: &[u8]) {
    let _ = message::query(body);
    if let Ok(parse) = message::parse(body) {
        let _ = parse.type_oids().count();
    }
    if let Ok(bind) = message::bind(body) {
        let _ = bind.values();
    }
    let _ = message::target(tag, body);
    let _ = message::execute(body);
    let _ = message::parameter_status(body);
    let _ = message::data_row(body);
    let _ = message::key_data(body);
    let _ = message::tag_rows(body);
    let _ = report::fields(body).count();
    let _ = report::Report::read(body).is_fatal();
}
