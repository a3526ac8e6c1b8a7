use shared::keys::STREAM_FIELD;

use super::*;

const COUNT: usize = 4;

fn position(text: &str) -> Position {
    text.parse().unwrap()
}

fn request(after: &str) -> PageRequest {
    let user = UserId::new("u").unwrap();
    let size = StreamSize::Small;
    PageRequest { user, after: position(after), count: COUNT, max_bytes: 1000, size }
}

fn bulk(text: &str) -> Value {
    Value::BulkString(text.into())
}

fn stored(id: &str) -> Value {
    Value::Array(vec![bulk(id), Value::Array(vec![bulk(STREAM_FIELD), bulk("{\"event\":1}")])])
}

fn read(marks: Value, after: &str, entries: Vec<Value>) -> UserReply<Page> {
    let replies = [Ok(marks), Ok(Value::Array(entries))];
    Page::read(replies, &request(after), &RedisClock::default()).unwrap()
}

/// The page that Redis returns for a stream, and marks: the newest position and the start.
fn page(after: &str, stream: &[&str], marks: [Option<&str>; 2]) -> Page {
    let entries = stream.iter().filter(|id| position(id) >= position(after));
    let entries = entries.take(COUNT).map(|id| stored(id)).collect();
    let marks = marks.map(|mark| mark.map_or(Value::Nil, bulk)).into();
    read(Value::Array(marks), after, entries).unwrap()
}

fn ids(page: &Page) -> Vec<String> {
    page.frames.iter().map(|frame| frame.position.unwrap().to_string()).collect()
}

#[test]
fn a_stream_that_has_the_position_reaches_back() {
    let page = page("2-0", &["1-0", "2-0", "2-1", "3-0"], [None, None]);
    assert!(page.reaches_back && !page.more);
    assert_eq!(ids(&page), ["2-1", "3-0"]);
    assert_eq!(page.newest, position("3-0"));
}

#[test]
fn a_client_at_the_newest_position_has_missed_nothing_even_if_the_stream_has_expired() {
    let in_stream = page("3-0", &["1-0", "3-0"], [None, None]);
    assert!(in_stream.reaches_back && in_stream.frames.is_empty() && !in_stream.is_empty);
    let expired = page("3-0", &[], [Some("3-0"), Some("0-7 1-0")]);
    assert!(expired.reaches_back && expired.frames.is_empty() && expired.is_empty);
    let without_history = page("0-7", &[], [Some("0-7"), None]);
    assert!(without_history.reaches_back);
}

#[test]
fn a_stream_that_starts_with_the_successor_of_the_position_reaches_back() {
    for (after, stream) in [("0-7", &["5-0"][..]), ("3-0", &["5-0", "6-0"])] {
        let start = format!("{after} 5-0");
        assert!(page(after, stream, [Some("6-0"), Some(&start)]).reaches_back, "{after}");
    }
}

#[test]
fn a_position_that_is_neither_in_the_stream_nor_in_the_marks_does_not_reach_back() {
    for (after, stream, marks) in [
        // Trimmed; ahead of the stream; lost in a failover; gone; never assigned.
        ("1-0", &["2-0", "3-0"][..], [Some("3-0"), Some("0-7 1-0")]),
        ("9-0", &["2-0", "3-0"], [Some("3-0"), None]),
        ("2-5", &["2-0", "3-0"], [Some("3-0"), None]),
        ("2-0", &[], [None, None]),
        ("0-0", &["2-0"], [Some("2-0"), Some("0-7 2-0")]),
        ("0-0", &[], [None, None]),
        // The first entry was trimmed; expired after a successor; marks of another position.
        ("0-7", &["6-0"], [Some("6-0"), Some("0-7 5-0")]),
        ("3-0", &[], [Some("5-0"), Some("3-0 5-0")]),
        ("0-7", &["5-0"], [Some("5-0"), Some("0-8 5-0")]),
        ("0-7", &["5-0"], [Some("5-0"), Some("0-7")]),
        ("0-7", &["5-0"], [Some("x"), Some("0-7 x")]),
    ] {
        assert!(!page(after, stream, marks).reaches_back, "{after} in {stream:?}, {marks:?}");
    }
    assert_eq!(ids(&page("1-0", &["2-0", "3-0"], [None, None])), ["2-0", "3-0"]);
    assert!(page("9-0", &["2-0"], [None, None]).is_empty);
}

#[test]
fn a_full_page_is_continued_at_its_end() {
    let stream = ["1-1", "1-2", "1-3", "1-4", "1-5"];
    let full = page("1-1", &stream, [None, None]);
    assert!(full.more);
    assert_eq!(full.newest, position("1-4"));
    assert!(!page("1-3", &stream, [None, None]).more);
}

#[test]
fn a_full_page_without_a_readable_entry_after_the_position_is_the_last() {
    // The end of a page is where the next one starts.
    let future = ["99999999999997-0", "99999999999998-0", "99999999999999-0"].map(stored);
    let entries = [&[stored("1-0")][..], &future].concat();
    let page = read(Value::Nil, "1-0", entries).unwrap();
    assert_eq!((page.newest, page.more, page.malformed), (position("1-0"), false, 3));
}

#[test]
fn the_next_page_has_as_many_entries_as_fit_into_the_byte_limit() {
    let of = |bytes: usize, count| {
        let text = "x".repeat(bytes);
        let frame = || Frame::published(text.clone().into());
        let frames = std::iter::repeat_with(frame).take(count).collect();
        let newest = position("7-0");
        let size = StreamSize::Large;
        let (reaches_back, is_empty, more, malformed) = (true, false, true, 0);
        let page = Page { reaches_back, is_empty, frames, newest, more, malformed, size };
        let next = request("1-0").next(&page);
        assert_eq!(next.size, size);
        assert_eq!(next.after, newest);
        next.count
    };
    assert_eq!(of(22, 8), 1000 / 22);
    assert_eq!(of(250, 8), 4);
    assert_eq!(of(100_000, 8), 2);
    assert_eq!(of(0, 0), MAX_PAGE_ENTRIES);
}

#[test]
fn an_unreadable_entry_is_skipped_and_counted_and_the_others_are_read() {
    let fields = |name: &[u8], value: &[u8]| {
        Value::Array(vec![Value::BulkString(name.into()), Value::BulkString(value.into())])
    };
    let entry = |id: Value, fields: Value| Value::Array(vec![id, fields]);
    let page = read(
        Value::Array(vec![Value::Nil, Value::Nil]),
        "1-0",
        vec![
            stored("1-0"),
            entry(bulk("2-0"), fields(&[0xff], b"x")),
            entry(bulk("3-0"), fields(b"n", &[0xff])),
            entry(bulk("4-0"), fields(b"n", b"[]")),
            entry(Value::BulkString(vec![0xff]), fields(b"n", b"{}")),
            entry(bulk("5-0"), Value::Nil),
            Value::Int(1),
            stored("6-0"),
        ],
    );
    let page = page.unwrap();
    assert_eq!(ids(&page), ["6-0"]);
    assert_eq!((page.malformed, page.newest), (6, position("6-0")));
    assert!(page.reaches_back);
}

#[test]
fn a_page_with_an_entry_from_the_future_is_not_complete() {
    let entries = vec![stored("1-0"), stored("99999999999999-0"), stored("6-0")];
    let page = read(Value::Array(vec![bulk("1-0"), Value::Nil]), "1-0", entries).unwrap();
    assert_eq!((ids(&page), page.malformed), (vec!["6-0".to_owned()], 1));
    assert_eq!((page.newest, page.reaches_back), (position("6-0"), false));
}

#[test]
fn a_reply_of_another_type_concerns_its_user_only() {
    let replies = || [Ok(Value::Nil), Ok(Value::Int(1))];
    let page = Page::read(replies(), &request("0-0"), &RedisClock::default()).unwrap();
    assert_eq!(page, Err(RedisUserError::Unreadable));
    let wrong_marks = read(Value::Int(1), "1-0", vec![stored("1-0")]).unwrap();
    assert!(wrong_marks.reaches_back);
    let of_another_type = redis::parse_redis_value(b"-WRONGTYPE text\r\n");
    let marks = of_another_type.and_then(Value::extract_error);
    let replies = [marks, Ok(Value::Array(vec![stored("1-0")]))];
    let page = Page::read(replies, &request("0-0"), &RedisClock::default()).unwrap().unwrap();
    assert_eq!((ids(&page), page.reaches_back), (vec!["1-0".to_owned()], false));
}

#[test]
fn a_truncated_page_keeps_one_frame_and_ends_with_it() {
    let stream = ["2-0", "3-0", "4-0"];
    let bytes = page("2-0", &stream, [None, None]).average_bytes();
    for (max_bytes, kept) in [(1, &stream[1..2]), (2 * bytes - 1, &stream[1..2])] {
        let mut page = page("2-0", &stream, [None, None]);
        page.truncate(max_bytes);
        assert_eq!(ids(&page), kept);
        assert_eq!((page.newest, page.more), (position("3-0"), true));
    }
    let mut whole = page("2-0", &stream, [None, None]);
    whole.truncate(2 * bytes);
    assert_eq!((ids(&whole).len(), whole.newest, whole.more), (2, position("4-0"), false));
    let mut empty = page("4-0", &stream, [None, None]);
    empty.truncate(1);
    assert_eq!((empty.newest, empty.more), (position("4-0"), false));
}

#[test]
fn a_page_of_the_script_is_read_like_one_of_a_small_stream() {
    let request = PageRequest { size: StreamSize::Large, ..request("1-0") };
    let read = |more, entries: &[Value]| {
        let marks = Value::Array(vec![bulk("1-0"), Value::Nil]);
        let reply = Value::Array([&[Value::Int(more)], entries].concat());
        Page::read([Ok(marks), Ok(reply)], &request, &RedisClock::default()).unwrap().unwrap()
    };
    let texts = [bulk("1-0"), Value::Nil, bulk("2-0"), bulk("{\"event\":1}")];
    let page = read(1, &texts);
    assert!(page.reaches_back && page.more);
    assert_eq!((ids(&page), page.newest), (vec!["2-0".to_owned()], position("2-0")));
    assert!(!read(0, &texts).more);
    assert!(read(0, &[]).is_empty);
    let skipped = [bulk("3-0"), Value::Nil, Value::Int(1), Value::Nil];
    assert_eq!(read(1, &[&texts[..], &skipped].concat()).malformed, 2);
}

#[test]
fn a_page_with_an_entry_that_is_too_large_is_not_complete_and_continues_after_it() {
    let request = PageRequest { size: StreamSize::Large, ..request("1-0") };
    let reply = vec![Value::Int(1), bulk("1-0"), Value::Nil, bulk("2-0"), Value::Int(9_000_000)];
    let replies = [Ok(Value::Nil), Ok(Value::Array(reply))];
    let page = Page::read(replies, &request, &RedisClock::default()).unwrap().unwrap();
    assert!(page.more && !page.reaches_back && page.frames.is_empty());
    assert_eq!((page.newest, page.malformed), (position("2-0"), 1));
}

#[test]
fn a_stream_is_large_unless_its_size_is_known() {
    let size = |reply: RedisResult<Value>| {
        let mut request = PageRequest { size: StreamSize::Unknown, ..request("1-0") };
        request.set_size(reply).map(|()| request.size)
    };
    let error = |line: &[u8]| redis::parse_redis_value(line).and_then(Value::extract_error);
    assert_eq!(size(Ok(Value::Nil)).unwrap(), StreamSize::Small);
    assert_eq!(size(Ok(Value::Int(1 << 20))).unwrap(), StreamSize::Small);
    assert_eq!(size(Ok(Value::Int(20 << 20))).unwrap(), StreamSize::Large);
    assert_eq!(size(error(b"-NOPERM no\r\n")).unwrap(), StreamSize::Large);
    assert_eq!(size(error(b"-ERR unknown command\r\n")).unwrap(), StreamSize::Large);
    assert!(size(error(b"-LOADING dataset\r\n")).is_err());
}
