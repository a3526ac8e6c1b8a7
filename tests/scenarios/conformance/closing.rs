//! Section 7: close frames. Nothing after a close frame is answered.

use support::raw_socket::client_frame;

use super::{Case, Expected};

const CLOSE: u8 = 0x88;

fn closed(code: u16) -> Expected {
    Expected::Closed(Vec::new(), code)
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    client_frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

pub(super) fn all() -> Vec<Case> {
    let (text, ping) = (client_frame(0x81, b"Hello World!"), client_frame(0x89, b"ping"));
    let normal = close(1000, b"");
    let large = client_frame(0x81, &vec![b'*'; 256 << 10]);
    let begun = client_frame(0x01, b"fragment1");
    let ended = client_frame(0x80, b"fragment2");
    let mut cases = vec![
        Case::new("7.1.1", &[text.clone(), normal.clone()], closed(1000)),
        Case::new("7.1.2", &[normal.clone(), normal.clone()], closed(1000)),
        Case::new("7.1.3", &[normal.clone(), ping.clone()], closed(1000)),
        Case::new("7.1.4", &[normal.clone(), text], closed(1000)),
        Case::new("7.1.5", &[begun, normal.clone(), ended], closed(1000)),
        Case::new("7.1.6", &[large, normal.clone(), ping], closed(1000)),
        Case::new("7.3.1", &[client_frame(CLOSE, b"")], closed(1005)),
        Case::new("7.3.2", &[client_frame(CLOSE, b"a")], closed(1002)),
        Case::new("7.3.3", &[normal], closed(1000)),
        Case::new("7.3.4", &[close(1000, b"Hello World!")], closed(1000)),
        Case::new("7.3.5", &[close(1000, &[b'*'; 123])], closed(1000)),
        Case::new("7.3.6", &[close(1000, &[b'*'; 124])], closed(1002)),
        Case::new("7.5.1", &[close(1000, b"\xce\xba\xed\xa0\x80edited")], closed(1007)),
    ];
    let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    let echoed = (1..).zip(valid);
    cases.extend(echoed.map(|(number, code)| {
        Case::new(format!("7.7.{number}"), &[close(code, b"")], closed(code))
    }));
    let invalid = (1..).zip([0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999]);
    cases.extend(invalid.map(|(number, code)| {
        Case::new(format!("7.9.{number}"), &[close(code, b"")], closed(1002))
    }));
    let no_number = (1..).zip([5000, 65_535]);
    cases.extend(no_number.map(|(number, code)| {
        Case::new(format!("7.13.{number}"), &[close(code, b"")], closed(1002))
    }));
    cases
}
