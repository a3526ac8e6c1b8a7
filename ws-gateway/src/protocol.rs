//! The WebSocket protocol of clients: frames about the connection, messages of a client, close
//! codes, and the positions and frames of notifications.

mod client_message;
mod close_code;
mod control_frame;
mod frame;
mod operator_request;
mod poll_answer;
mod position;
mod read_state;

use tokio_tungstenite::tungstenite::Utf8Bytes;

pub use client_message::{ClientMessage, Filter};
pub(crate) use close_code::AUTHENTICATION_ERROR;
pub use close_code::{CloseReason, Disconnect, Remedy};
pub use control_frame::{Resume, STATE_EVENT, State, StateFrame};
pub use frame::Frame;
pub(crate) use frame::{TraceContext, position_of};
pub(crate) use operator_request::{ConnectionInfo, GatewayAnswer, OperatorAction, OperatorRequest};
pub use poll_answer::PollAnswer;
pub(crate) use position::InvalidPosition;
pub use position::Position;
pub use read_state::{READ_STATE_EVENT, ReadState, ReadStateFrame, ReadSummary};

/// The subprotocol of clients that receive frames about the connection.
pub const SUBPROTOCOL: &str = "huleedu.v1";

/// The reply to `{"type":"ping"}`.
pub(crate) const PONG: Utf8Bytes = Utf8Bytes::from_static(r#"{"type":"pong"}"#);
