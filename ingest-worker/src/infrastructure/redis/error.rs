//! Distinguishes an outage of Redis, after which a whole batch is retried, from the refusal of a
//! single command.

use redis::{ErrorKind, RedisError};
use shared::redis::is_slot_not_served;

use crate::{
    metrics::RedisErrorKind,
    notification::publisher::{System, TransientError},
};

/// The code of an error with which a script's command was refused for lack of memory.
pub(super) const OUT_OF_MEMORY: &str = "OOM";

/// Returns whether an error means that Redis as a whole is unavailable: no connection, loading,
/// read-only, moved. Errors that this list does not name count as outages, as those are retried in
/// order. A slot without an owner concerns the users of that slot.
pub(super) fn is_outage(error: &RedisError) -> bool {
    !is_slot_not_served(error) && error.code().is_none_or(is_outage_code)
}

/// As [`is_outage`], for the code that an error begins with. ASK and TRYAGAIN concern the users of
/// one slot of Redis Cluster, until its migration ends.
pub(super) fn is_outage_code(code: &str) -> bool {
    const OF_ONE_COMMAND: [&str; 7] =
        ["ERR", "WRONGTYPE", "NOPERM", "CROSSSLOT", "ASK", "TRYAGAIN", OUT_OF_MEMORY];
    !OF_ONE_COMMAND.contains(&code)
}

/// Returns the kind of an error, for metrics.
pub(super) fn kind(error: &RedisError) -> RedisErrorKind {
    match (error.kind(), error.code()) {
        (ErrorKind::Io, _) => RedisErrorKind::Unreachable,
        (ErrorKind::AuthenticationFailed, _) => RedisErrorKind::Refused,
        (_, Some(code)) => kind_of_code(code),
        (_, None) => RedisErrorKind::Other,
    }
}

/// As [`kind`], for the code that an error begins with.
pub(super) fn kind_of_code(code: &str) -> RedisErrorKind {
    match code {
        "NOAUTH" | "WRONGPASS" | "NOPERM" | "ERR" | "WRONGTYPE" | "CROSSSLOT" => {
            RedisErrorKind::Refused
        }
        "LOADING" => RedisErrorKind::Loading,
        "READONLY" | "NOREPLICAS" | "MISCONF" => RedisErrorKind::ReadOnly,
        OUT_OF_MEMORY => RedisErrorKind::OutOfMemory,
        _ => RedisErrorKind::Other,
    }
}

/// Returns the error for a retry. Its detail names the kind of error only, as the texts of some
/// errors quote a command.
pub(super) fn transient(error: &RedisError) -> TransientError {
    let detail = match (error.kind(), error.code()) {
        (ErrorKind::Io, _) => error.to_string(),
        (kind, Some(code)) => format!("{kind:?} ({code})"),
        (kind, None) => format!("{kind:?}"),
    };
    TransientError { system: System::Redis, detail }
}

/// As [`transient`], for the code that an error begins with.
pub(super) fn transient_code(code: &str) -> TransientError {
    TransientError { system: System::Redis, detail: format!("command refused ({code})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_a_single_command_are_no_outage() {
        for code in ["ERR", "WRONGTYPE", "NOPERM", "ASK", "TRYAGAIN", "OOM"] {
            assert!(!is_outage_code(code), "{code}");
        }
        for code in ["LOADING", "READONLY", "MISCONF", "NOSCRIPT", "MOVED", "NOAUTH", "UNHEARDOF"] {
            assert!(is_outage_code(code), "{code}");
        }
        assert!(is_outage(&RedisError::from(std::io::Error::other("reset"))));
        for (reply, expected) in [
            ("-CLUSTERDOWN Hash slot not served\r\n", false),
            ("-CLUSTERDOWN The cluster is down\r\n", true),
        ] {
            let error = redis::parse_redis_value(reply.as_bytes());
            let error = error.and_then(redis::Value::extract_error).unwrap_err();
            assert_eq!(is_outage(&error), expected, "{reply}");
        }
    }
}
