//! Permissions on Apache Kafka, by the Kafka protocol itself: no client library in Rust sets them.

use anyhow::ensure;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::kafka::Kafka;

/// Key and version of the requests; version 1 is the oldest that brokers accept.
const CREATE_ACLS: [i16; 2] = [30, 1];
const DELETE_ACLS: [i16; 2] = [31, 1];
/// Where a response has the error code of its only result: after the correlation id, the throttle
/// time and the number of results.
const ERROR_CODE: usize = 4 + 4 + 4;
/// The name of a resource as it is, and a permission that allows.
const LITERAL: u8 = 3;
const ALLOW: u8 = 3;

/// What a permission is for; the name `*` is all of the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A topic.
    Topic(&'a str),
    /// A consumer group.
    Group(&'a str),
}

/// What is permitted, by its number in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reading records, or joining a group and committing.
    Read = 3,
    /// Writing records.
    Write = 4,
    /// Metadata, or the offsets of a group; others include it.
    Describe = 8,
    /// The configuration of a topic.
    DescribeConfigs = 10,
}

/// A permission of a user.
pub type Permission<'a> = (Resource<'a>, Operation);

/// Adds permissions of a user. A resource that any user has a permission for is denied to users
/// without one.
///
/// # Errors
/// When the broker does not answer, or refuses.
pub async fn permit(
    kafka: &Kafka,
    user: &str,
    permissions: &[Permission<'_>],
) -> anyhow::Result<()> {
    send(kafka, CREATE_ACLS, user, permissions).await
}

/// Removes permissions of a user.
///
/// # Errors
/// As [`permit`].
pub async fn forbid(
    kafka: &Kafka,
    user: &str,
    permissions: &[Permission<'_>],
) -> anyhow::Result<()> {
    send(kafka, DELETE_ACLS, user, permissions).await
}

async fn send(
    kafka: &Kafka,
    request: [i16; 2],
    user: &str,
    permissions: &[Permission<'_>],
) -> anyhow::Result<()> {
    let mut socket = TcpStream::connect(kafka.bootstrap_servers()).await?;
    for permission in permissions {
        let mut body: Vec<u8> = request.iter().flat_map(|number| number.to_be_bytes()).collect();
        // Correlation id 0, no client id, one permission.
        body.extend([0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 1]);
        body.extend(encode(user, permission)?);
        socket.write_all(&i32::try_from(body.len())?.to_be_bytes()).await?;
        socket.write_all(&body).await?;
        let mut response = vec![0; usize::try_from(socket.read_i32().await?)?];
        socket.read_exact(&mut response).await?;
        let code = response.get(ERROR_CODE..ERROR_CODE + 2);
        ensure!(code == Some(&[0, 0]), "{permission:?}: the broker answers error code {code:?}");
    }
    Ok(())
}

/// The permission from any host, as an addition or as the filter of a removal.
fn encode(user: &str, (resource, operation): &Permission<'_>) -> anyhow::Result<Vec<u8>> {
    let (kind, name) = match resource {
        Resource::Topic(name) => (2, name),
        Resource::Group(name) => (3, name),
    };
    let mut encoded = vec![kind];
    put_text(&mut encoded, name)?;
    encoded.push(LITERAL);
    put_text(&mut encoded, &format!("User:{user}"))?;
    put_text(&mut encoded, "*")?;
    encoded.extend([*operation as u8, ALLOW]);
    Ok(encoded)
}

fn put_text(into: &mut Vec<u8>, text: &str) -> anyhow::Result<()> {
    into.extend(i16::try_from(text.len())?.to_be_bytes());
    into.extend(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_is_encoded_with_its_user_and_any_host() {
        let encoded = encode("u", &(Resource::Group("g"), Operation::Read)).unwrap();
        assert_eq!(encoded, b"\x03\x00\x01g\x03\x00\x06User:u\x00\x01*\x03\x03");
    }
}
