//! Sections 1 to 5 and 10: framing, pings, reserved bits and opcodes, fragments.

use support::raw_socket::client_frame;

use super::{Case, Expected};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const MORE_TEXT: u8 = 0x01;
const MORE: u8 = 0x00;
const LAST: u8 = 0x80;

fn served(pongs: &[&[u8]]) -> Expected {
    Expected::Served(pongs.iter().map(|pong| pong.to_vec()).collect())
}

fn protocol_error(pongs: &[&[u8]]) -> Expected {
    Expected::Closed(pongs.iter().map(|pong| pong.to_vec()).collect(), 1002)
}

fn hello(first: u8) -> Vec<u8> {
    client_frame(first, b"Hello, world!")
}

pub(super) fn all() -> Vec<Case> {
    [sizes(), pings(), reserved_bits(), reserved_opcodes(), fragments(), strays(), mixed()]
        .into_iter()
        .flatten()
        .collect()
}

/// 1.1, 1.2 and 10: text and binary messages of many sizes.
fn sizes() -> Vec<Case> {
    let sizes = [0, 125, 126, 127, 128, 65_535, 65_536, 65_536];
    let mut cases = Vec::new();
    for (number, size) in (1..).zip(sizes) {
        let chunk_size = if number == 8 { 997 } else { usize::MAX };
        let text = [client_frame(TEXT, &vec![b'*'; size])];
        cases.push(Case::new(format!("1.1.{number}"), &text, served(&[])).in_chunks_of(chunk_size));
        let binary = [client_frame(BINARY, &vec![0xfe; size])];
        let refused = Expected::Closed(Vec::new(), 1003);
        cases.push(Case::new(format!("1.2.{number}"), &binary, refused).in_chunks_of(chunk_size));
    }
    let whole = vec![b'*'; 65_536];
    let parts: Vec<&[u8]> = whole.chunks(1_300).collect();
    let frames: Vec<Vec<u8>> = (0..parts.len())
        .map(|at| {
            let begin = if at == 0 { MORE_TEXT } else { MORE };
            let end = if at + 1 == parts.len() { LAST } else { 0 };
            client_frame(begin | end, parts[at])
        })
        .collect();
    cases.push(Case::new("10.1.1", &frames, served(&[])));
    cases
}

/// 2: pings and pongs.
fn pings() -> Vec<Case> {
    let (long, too_long) = (vec![0xfe; 125], vec![0xfe; 126]);
    let odd: &[u8] = &[0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    let ten: Vec<Vec<u8>> = (0..10).map(|n| format!("payload-{n}").into_bytes()).collect();
    let ten_pings: Vec<Vec<u8>> = ten.iter().map(|payload| client_frame(PING, payload)).collect();
    let unsolicited = client_frame(PONG, b"unsolicited pong payload");
    vec![
        Case::new("2.1", &[client_frame(PING, b"")], served(&[b""])),
        Case::new("2.2", &[hello(PING)], served(&[b"Hello, world!"])),
        Case::new("2.3", &[client_frame(PING, odd)], served(&[odd])),
        Case::new("2.4", &[client_frame(PING, &long)], served(&[&long])),
        Case::new("2.5", &[client_frame(PING, &too_long)], protocol_error(&[])),
        Case::new("2.6", &[client_frame(PING, &long)], served(&[&long])).in_chunks_of(1),
        Case::new("2.7", &[client_frame(PONG, b"")], served(&[])),
        Case::new("2.8", std::slice::from_ref(&unsolicited), served(&[])),
        Case::new("2.9", &[unsolicited, client_frame(PING, b"ping")], served(&[b"ping"])),
        Case::new("2.10", &ten_pings, Expected::Served(ten.clone())),
        Case::new("2.11", &ten_pings, Expected::Served(ten)).in_chunks_of(1),
    ]
}

/// 3: reserved bits.
fn reserved_bits() -> Vec<Case> {
    let reserved = |first: u8, bits: u8| hello(first | bits << 4);
    let later = |bits| [hello(TEXT), reserved(TEXT, bits), client_frame(PING, b"")];
    vec![
        Case::new("3.1", &[reserved(TEXT, 1)], protocol_error(&[])),
        Case::new("3.2", &later(2), protocol_error(&[])),
        Case::new("3.3", &later(3), protocol_error(&[])).in_chunks_of(19),
        Case::new("3.4", &later(4), protocol_error(&[])).in_chunks_of(1),
        Case::new("3.5", &[reserved(BINARY, 5)], protocol_error(&[])),
        Case::new("3.6", &[reserved(PING, 6)], protocol_error(&[])),
        Case::new(
            "3.7",
            &[client_frame(0x88 | 7 << 4, &1000_u16.to_be_bytes())],
            protocol_error(&[]),
        ),
    ]
}

/// 4: reserved opcodes.
fn reserved_opcodes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (section, first_opcode) in [(1, 0x83), (2, 0x8b)] {
        for number in 1..=5_u8 {
            let payload: &[u8] = if number % 2 == 0 || number == 5 { b"payload" } else { b"" };
            let mut frames = vec![client_frame(first_opcode + number - 1, payload)];
            if number >= 3 {
                frames.insert(0, hello(TEXT));
                frames.push(client_frame(PING, b""));
            }
            let case = Case::new(format!("4.{section}.{number}"), &frames, protocol_error(&[]));
            cases.push(if number == 5 { case.in_chunks_of(1) } else { case });
        }
    }
    cases
}

/// 5.1 to 5.8: fragmented messages with pings in between.
fn fragments() -> Vec<Case> {
    let broken_ping = [client_frame(PING & 0x7f, b"first"), client_frame(LAST, b"second")];
    let two_pongs = [client_frame(PONG & 0x7f, b"first"), client_frame(LAST, b"second")];
    let two = [client_frame(MORE_TEXT, b"first"), client_frame(LAST, b"second")];
    let with_ping = [two[0].clone(), client_frame(PING, b"ping"), two[1].clone()];
    vec![
        Case::new("5.1", &broken_ping, protocol_error(&[])),
        Case::new("5.2", &two_pongs, protocol_error(&[])),
        Case::new("5.3", &two, served(&[])),
        Case::new("5.4", &two, served(&[])).in_chunks_of(11),
        Case::new("5.5", &two, served(&[])).in_chunks_of(1),
        Case::new("5.6", &with_ping, served(&[b"ping"])),
        Case::new("5.7", &with_ping, served(&[b"ping"])).in_chunks_of(10),
        Case::new("5.8", &with_ping, served(&[b"ping"])).in_chunks_of(1),
    ]
}

/// 5.9 to 5.15: continuation frames without a message.
fn strays() -> Vec<Case> {
    let mut cases = Vec::new();
    for (number, first) in [(9, LAST), (12, MORE)] {
        let stray = [client_frame(first, b"non-continuation payload"), hello(TEXT)];
        for (more, chunk_size) in [(0, usize::MAX), (1, 30), (2, 1)] {
            let id = format!("5.{}", number + more);
            cases.push(Case::new(id, &stray, protocol_error(&[])).in_chunks_of(chunk_size));
        }
    }
    let after_one = [
        client_frame(MORE_TEXT, b"fragment1"),
        client_frame(LAST, b"fragment2"),
        client_frame(MORE, b"fragment3"),
        client_frame(TEXT, b"fragment4"),
    ];
    cases.push(Case::new("5.15", &after_one, protocol_error(&[])));
    cases
}

/// 5.16 to 5.20: messages that begin within a fragmented one, and five fragments with pings.
fn mixed() -> Vec<Case> {
    let part = |first| client_frame(first, b"fragment");
    let five = [
        part(MORE_TEXT),
        part(MORE),
        client_frame(PING, b"one"),
        part(MORE),
        part(MORE),
        client_frame(PING, b"two"),
        part(LAST),
    ];
    vec![
        Case::new("5.16", &[part(MORE), part(MORE_TEXT), part(LAST)], protocol_error(&[])),
        Case::new("5.17", &[part(LAST), part(MORE_TEXT), part(LAST)], protocol_error(&[])),
        Case::new("5.18", &[part(MORE_TEXT), part(TEXT)], protocol_error(&[])),
        Case::new("5.19", &five, served(&[b"one", b"two"])),
        Case::new("5.20", &five, served(&[b"one", b"two"])).in_chunks_of(1),
    ]
}
