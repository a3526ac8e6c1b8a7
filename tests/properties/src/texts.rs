//! Properties of parsing texts from outside: client messages, positions, origins, user ids, times.
//! Parsing never panics, and an accepted value formats to a text that parses to the same value.

use serde_json::Value;
use shared::{time, user::UserId};
use ws_gateway::{
    auth::Origins,
    protocol::{ClientMessage, Filter, Frame, Position},
};

/// Checks a text with every parser.
///
/// # Panics
/// If a property is violated.
pub fn check_text(text: &str) {
    message(text);
    frame(text);
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string().parse(), Ok(position));
        assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'));
    }
    if let Ok(origins) = text.parse::<Origins>() {
        assert!(!origins.allow(b"null") && !origins.allow(b"") && !origins.allow(b"*"));
    }
    if let Ok(user) = UserId::new(text) {
        assert_eq!(user.as_str(), text);
        assert!((1..=UserId::MAX_CHARS).contains(&text.chars().count()));
        assert!(!text.contains(char::is_control));
    }
    if let Some(at) = time::parse(text) {
        assert_eq!(time::parse(&at.to_string()), Some(at));
    }
}

fn message(text: &str) {
    let message = ClientMessage::parse(text);
    // The parser is lenient; what serde_json accepts must have the same meaning.
    if let (Some(message), Ok(value)) = (&message, serde_json::from_str::<Value>(text)) {
        match message {
            ClientMessage::Ping => assert_eq!(value["type"], "ping"),
            ClientMessage::Auth { token } => assert_eq!(value["token"], **token),
            ClientMessage::Read { up_to } => {
                assert_eq!(value["up_to"].as_str(), up_to.as_deref());
            }
            ClientMessage::Filter { categories } => {
                assert_eq!(value["categories"], Value::from(categories.clone()));
            }
        }
    }
    let filter = match &message {
        Some(ClientMessage::Filter { categories }) => {
            Filter::new(categories.iter().map(String::as_str))
        }
        _ => Filter::new(text.split(',')),
    };
    let passes = filter.passes(text);
    assert!(
        passes || text.contains("category") || text.contains('\\'),
        "a frame without a category was filtered out"
    );
    assert!(Filter::default().passes(text));
}

fn frame(text: &str) {
    let frame = Frame::published(text.into());
    assert_eq!(frame.text.as_str(), text, "frames of other publishers pass unchanged");
    assert!(frame.position.is_some() || !frame.low_priority);
    let position = Position::START;
    let stored = Frame::stored(position, text);
    assert_eq!(stored.is_some(), text.starts_with('{'));
    assert!(stored.is_none_or(|frame| Frame::published(frame.text).position == Some(position)));
}
