//! The ping that checks at the connection limit whether the client is still there.

/// The state of the ping that checks whether the client is still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Probe {
    /// No ping is outstanding.
    #[default]
    None,
    /// The ping has to be sent.
    Requested,
    /// The ping was sent and is not answered.
    Pinged,
}
