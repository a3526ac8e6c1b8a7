//! Reads replies item by item, and separates the errors of one user from those of the server.

use redis::{RedisError, RedisResult, Value};
use shared::redis::is_slot_not_served;

use crate::metrics::RedisUserError;

/// How the error begins with which Redis refuses a command of a script by its access rules, from
/// 7.2 on and before.
const SCRIPT_NOT_PERMITTED: [&str; 2] =
    ["ACL failure in script", "The user executing the script can't"];

/// The part of a reply that is about one user.
pub(super) type UserReply<T> = Result<T, RedisUserError>;

/// Separates an error about one user's keys from an error of the connection or the server.
///
/// # Errors
/// The error, if it concerns every user.
pub(super) fn user_reply<T>(reply: RedisResult<T>) -> RedisResult<UserReply<T>> {
    match reply {
        Ok(value) => Ok(Ok(value)),
        Err(error) => user_error(&error).map(Err).ok_or(error),
    }
}

/// Returns the kind of an error about one user's keys or channel; none if it concerns every user.
fn user_error(error: &RedisError) -> Option<RedisUserError> {
    let says = |text: &str| error.detail().is_some_and(|detail| detail.starts_with(text));
    Some(match error.code()? {
        "WRONGTYPE" => RedisUserError::WrongType,
        "CROSSSLOT" => RedisUserError::CrossSlot,
        "OOM" => RedisUserError::OutOfMemory,
        "READONLY" => RedisUserError::ReadOnly,
        "NOREPLICAS" => RedisUserError::TooFewReplicas,
        "MISCONF" => RedisUserError::PersistenceFailed,
        "NOPERM" => RedisUserError::NoPermission,
        "ERR" if SCRIPT_NOT_PERMITTED.into_iter().any(says) => RedisUserError::NoPermission,
        "ASK" | "MOVED" | "TRYAGAIN" => RedisUserError::SlotMoving,
        "CLUSTERDOWN" if is_slot_not_served(error) => RedisUserError::SlotMoving,
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" | "NOAUTH" | "WRONGPASS" | "NOPROTO" => {
            return None;
        }
        _ => RedisUserError::Other,
    })
}

/// Returns the text of a value, if it is one.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// Returns the items of an array; none if the value is something else.
pub(super) fn items(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        Value::Nil => Some(Vec::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use redis::{ErrorKind, ServerErrorKind};

    use super::*;

    fn server_error(code: &str) -> RedisError {
        redis::parse_redis_value(format!("-{code} text\r\n").as_bytes())
            .and_then(Value::extract_error)
            .unwrap_err()
    }

    #[test]
    fn an_error_about_a_key_concerns_one_user() {
        for (code, kind) in [
            ("WRONGTYPE", RedisUserError::WrongType),
            ("CROSSSLOT", RedisUserError::CrossSlot),
            ("OOM", RedisUserError::OutOfMemory),
            ("READONLY", RedisUserError::ReadOnly),
            ("NOREPLICAS", RedisUserError::TooFewReplicas),
            ("MISCONF", RedisUserError::PersistenceFailed),
            ("NOPERM", RedisUserError::NoPermission),
            ("ERR", RedisUserError::Other),
            ("ERR ACL failure in script: No permissions", RedisUserError::NoPermission),
            (
                "ERR The user executing the script can't run this command or subcommand",
                RedisUserError::NoPermission,
            ),
            ("TRYAGAIN Multiple keys request during rehashing", RedisUserError::SlotMoving),
            ("ASK 866 127.0.0.1:7001", RedisUserError::SlotMoving),
            ("MOVED 866 127.0.0.1:7001", RedisUserError::SlotMoving),
            ("CLUSTERDOWN Hash slot not served", RedisUserError::SlotMoving),
            ("SOMETHING", RedisUserError::Other),
        ] {
            assert_eq!(user_reply::<Value>(Err(server_error(code))).unwrap(), Err(kind), "{code}");
        }
    }

    #[test]
    fn an_error_of_the_connection_or_of_the_server_concerns_every_user() {
        for code in ["LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH", "WRONGPASS"] {
            assert!(user_reply::<Value>(Err(server_error(code))).is_err(), "{code}");
        }
        for kind in [ErrorKind::Io, ErrorKind::Parse, ErrorKind::AuthenticationFailed] {
            assert!(
                user_reply::<Value>(Err((kind, "connection lost").into())).is_err(),
                "{kind:?}"
            );
        }
        let loading = (ErrorKind::Server(ServerErrorKind::BusyLoading), "loading");
        assert!(user_reply::<Value>(Err(loading.into())).is_err());
    }

    #[test]
    fn only_utf_8_is_text() {
        assert_eq!(text(&Value::BulkString(b"1-0".into())), Some("1-0"));
        assert_eq!(text(&Value::BulkString(vec![0xff])), None);
        assert_eq!(text(&Value::Int(1)), None);
        assert_eq!(items(Value::Int(1)), None);
    }
}
