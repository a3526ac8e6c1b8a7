//! What the gateway itself says to a client and understands from one: the frames of the
//! connection, the messages of a client, and the close codes. The only list of each.

mod client_message;
mod close_code;
mod control_frame;
mod frame;
mod position;

use tokio_tungstenite::tungstenite::Utf8Bytes;

pub use client_message::{ClientMessage, Filter};
pub use close_code::{AUTHENTICATION_ERROR, CloseReason, Disconnect, Remedy};
pub use control_frame::{Resume, STATE_EVENT, State, StateFrame};
pub use frame::{Frame, TraceContext};
pub use position::Position;

/// The subprotocol of clients that understand frames of the connection.
pub const SUBPROTOCOL: &str = "huleedu.v1";

/// The answer to `{"type":"ping"}`.
pub const PONG: Utf8Bytes = Utf8Bytes::from_static(r#"{"type":"pong"}"#);
