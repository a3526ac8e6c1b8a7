//! Section 6: valid and invalid UTF-8 in text messages.

use support::raw_socket::client_frame;

use super::{Case, Expected};

/// The Greek word that the suite uses.
const KOSME: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";

/// Valid sequences by section.
const VALID: &[(&str, &[&[u8]])] = &[
    (
        "6.5",
        &[
            b"hello$world",
            b"hello\xc2\xa2world",
            b"hello\xe2\x82\xacworld",
            b"hello\xf0\xa4\xad\xa2world",
            KOSME,
        ],
    ),
    ("6.7", &[b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"]),
    ("6.9", &[b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"]),
    ("6.11", &[b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf"]),
    (
        "6.23",
        &[
            b"\xef\xbf\xb9",
            b"\xef\xbf\xba",
            b"\xef\xbf\xbb",
            b"\xef\xbf\xbc",
            b"\xef\xbf\xbd",
            b"\xef\xbf\xbe",
            b"\xef\xbf\xbf",
        ],
    ),
];

/// Invalid sequences by section, with the number of the first case.
const INVALID: &[(&str, usize, &[&[u8]])] = &[
    ("6.8", 1, &[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]),
    ("6.10", 1, &[b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"]),
    ("6.11", 5, &[b"\xf4\x90\x80\x80"]),
    (
        "6.12",
        1,
        &[
            b"\x80",
            b"\xbf",
            b"\x80\xbf",
            b"\x80\xbf\x80",
            b"\x80\xbf\x80\xbf",
            b"\x80\xbf\x80\xbf\x80",
            b"\x80\xbf\x80\xbf\x80\xbf",
        ],
    ),
    (
        "6.14",
        1,
        &[
            b"\xc0",
            b"\xe0\x80",
            b"\xf0\x80\x80",
            b"\xf8\x80\x80\x80",
            b"\xfc\x80\x80\x80\x80",
            b"\xdf",
            b"\xef\xbf",
            b"\xf7\xbf\xbf",
            b"\xfb\xbf\xbf\xbf",
            b"\xfd\xbf\xbf\xbf\xbf",
        ],
    ),
    ("6.15", 1, &[b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf"]),
    ("6.16", 1, &[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]),
    (
        "6.17",
        1,
        &[
            b"\xc0\xaf",
            b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf",
            b"\xf8\x80\x80\x80\xaf",
            b"\xfc\x80\x80\x80\x80\xaf",
        ],
    ),
    (
        "6.18",
        1,
        &[
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf8\x87\xbf\xbf\xbf",
            b"\xfc\x83\xbf\xbf\xbf\xbf",
        ],
    ),
    (
        "6.19",
        1,
        &[
            b"\xc0\x80",
            b"\xe0\x80\x80",
            b"\xf0\x80\x80\x80",
            b"\xf8\x80\x80\x80\x80",
            b"\xfc\x80\x80\x80\x80\x80",
        ],
    ),
    (
        "6.20",
        1,
        &[
            b"\xed\xa0\x80",
            b"\xed\xad\xbf",
            b"\xed\xae\x80",
            b"\xed\xaf\xbf",
            b"\xed\xb0\x80",
            b"\xed\xbe\x80",
            b"\xed\xbf\xbf",
        ],
    ),
    (
        "6.21",
        1,
        &[
            b"\xed\xa0\x80\xed\xb0\x80",
            b"\xed\xa0\x80\xed\xbf\xbf",
            b"\xed\xad\xbf\xed\xb0\x80",
            b"\xed\xad\xbf\xed\xbf\xbf",
            b"\xed\xae\x80\xed\xb0\x80",
            b"\xed\xae\x80\xed\xbf\xbf",
            b"\xed\xaf\xbf\xed\xb0\x80",
            b"\xed\xaf\xbf\xed\xbf\xbf",
        ],
    ),
];

fn served() -> Expected {
    Expected::Served(Vec::new())
}

fn refused() -> Expected {
    Expected::Closed(Vec::new(), 1007)
}

/// A text message in these fragments.
fn in_fragments_of(parts: &[&[u8]]) -> Vec<Vec<u8>> {
    let last = parts.len() - 1;
    let first = |at| u8::from(at == 0) | if at == last { 0x80 } else { 0 };
    parts.iter().enumerate().map(|(at, part)| client_frame(first(at), part)).collect()
}

pub(super) fn all() -> Vec<Case> {
    let mut cases = in_fragments();
    for (section, texts) in VALID {
        let valid = (1..).zip(*texts);
        cases.extend(valid.map(|(n, text)| {
            Case::new(format!("{section}.{n}"), &[client_frame(0x81, text)], served())
        }));
    }
    for (section, from, texts) in INVALID {
        let invalid = (*from..).zip(*texts);
        cases.extend(invalid.map(|(n, text)| {
            Case::new(format!("{section}.{n}"), &[client_frame(0x81, text)], refused())
        }));
    }
    // Every continuation byte, and every start byte before a space.
    let continuing: Vec<u8> = (0x80..=0xbf).collect();
    cases.push(Case::new("6.12.8", &[client_frame(0x81, &continuing)], refused()));
    let starts = [0xc0..=0xdf, 0xe0..=0xef, 0xf0..=0xf7, 0xf8..=0xfb, 0xfc..=0xfd];
    for (number, bytes) in (1..).zip(starts) {
        let alone: Vec<u8> = bytes.flat_map(|byte| [byte, b' ']).collect();
        cases.push(Case::new(format!("6.13.{number}"), &[client_frame(0x81, &alone)], refused()));
    }
    cases.extend(noncharacters());
    cases
}

/// 6.1 to 6.4 and 6.6: code points may be split between fragments; an invalid one is rejected at
/// once.
fn in_fragments() -> Vec<Case> {
    let text = "Hello-µ@ßöäüàá-UTF-8!!".as_bytes();
    let single = |text: &[u8]| in_fragments_of(&text.chunks(1).collect::<Vec<_>>());
    let invalid = [KOSME, b"\xed\xa0\x80edited"].concat();
    let (valid, too_high, rest) = (KOSME, &b"\xf4\x90\x80\x80"[..], &b"edited"[..]);
    let late = [valid, too_high, rest].concat();
    let mut cases = vec![
        Case::new("6.1.1", &[client_frame(0x81, b"")], served()),
        Case::new("6.1.2", &in_fragments_of(&[b"", b"", b""]), served()),
        Case::new("6.1.3", &in_fragments_of(&[b"", b"middle frame payload", b""]), served()),
        Case::new("6.2.1", &[client_frame(0x81, text)], served()),
        Case::new("6.2.2", &in_fragments_of(&[&text[..7], &text[7..]]), served()),
        Case::new("6.2.3", &single(text), served()),
        Case::new("6.2.4", &single(KOSME), served()),
        Case::new("6.3.1", &[client_frame(0x81, &invalid)], refused()),
        Case::new("6.3.2", &single(&invalid), refused()),
        // Rejected without the last fragment.
        Case::new("6.4.1", &in_fragments_of(&[valid, too_high, rest])[..2], refused()),
        Case::new(
            "6.4.2",
            &in_fragments_of(&[valid, b"\xf4\x90", b"\x80\x80", rest])[..2],
            refused(),
        ),
        Case::new("6.4.3", &[client_frame(0x81, &late)], refused()).in_chunks_of(20),
        Case::new("6.4.4", &[client_frame(0x81, &late)], refused()).in_chunks_of(1),
    ];
    for length in 1..=KOSME.len() {
        let prefix = &KOSME[..length];
        let expected = if std::str::from_utf8(prefix).is_ok() { served() } else { refused() };
        cases.push(Case::new(format!("6.6.{length}"), &[client_frame(0x81, prefix)], expected));
    }
    cases
}

/// 6.22: the two noncharacters at the end of each plane are valid UTF-8.
fn noncharacters() -> impl Iterator<Item = Case> {
    let all = (0..=0x10_u32).flat_map(|plane| [plane << 16 | 0xfffe, plane << 16 | 0xffff]);
    (1..).zip(all.filter_map(char::from_u32)).map(|(number, character): (u32, char)| {
        let text = character.to_string();
        Case::new(format!("6.22.{number}"), &[client_frame(0x81, text.as_bytes())], served())
    })
}
