//! Writes a record that no client library can write, by the Kafka protocol itself.

use anyhow::ensure;
use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::kafka::Kafka;

/// Key and version of the Produce request; version 3 is the oldest that brokers accept.
const PRODUCE: [i16; 2] = [0, 3];
/// Offset of the error code in the response to one partition, behind the topic's name.
const ERROR_CODE: usize = 4 + 4 + 2 + 4 + 4;

/// Writes a record to partition 0 of a topic whose leader is the bootstrap broker, with a header
/// whose name may be any bytes.
///
/// # Errors
/// When the broker refuses the record.
pub async fn write_with_header(
    kafka: &Kafka,
    topic: &str,
    key: &[u8],
    value: &[u8],
    header: (&[u8], &[u8]),
) -> anyhow::Result<()> {
    let records = batch(&record(key, value, header));
    let mut body = Vec::new();
    body.extend(PRODUCE.iter().flat_map(|number| number.to_be_bytes()));
    // Correlation id 0, no client id, no transaction, acks from all replicas, a timeout of 10 s.
    body.extend([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    body.extend(10_000_i32.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    body.extend(i16::try_from(topic.len())?.to_be_bytes());
    body.extend(topic.as_bytes());
    body.extend(1_i32.to_be_bytes());
    body.extend(0_i32.to_be_bytes());
    body.extend(i32::try_from(records.len())?.to_be_bytes());
    body.extend(records);
    let mut socket = TcpStream::connect(kafka.bootstrap_servers()).await?;
    socket.write_all(&i32::try_from(body.len())?.to_be_bytes()).await?;
    socket.write_all(&body).await?;
    let mut response = vec![0; usize::try_from(socket.read_i32().await?)?];
    socket.read_exact(&mut response).await?;
    let at = ERROR_CODE + topic.len();
    let code = response.get(at..at + 2);
    ensure!(code == Some(&[0, 0]), "the broker refuses the record with error code {code:?}");
    Ok(())
}

/// A record batch (version 2) of one record.
fn batch(record: &[u8]) -> Vec<u8> {
    // No compression, offset delta 0, the first and last timestamp, no idempotent producer, one
    // record.
    let mut checked = vec![0; 2 + 4];
    for _ in 0..2 {
        checked.extend(Timestamp::now().as_millisecond().to_be_bytes());
    }
    checked.extend([0xff; 8 + 2 + 4]);
    checked.extend(1_i32.to_be_bytes());
    checked.extend(record);
    // Epoch of the leader, magic, and checksum precede what is checked.
    let length = i32::try_from(4 + 1 + 4 + checked.len()).expect("a record is below 2 GiB");
    let mut batch = vec![0; 8];
    batch.extend(length.to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch
}

fn record(key: &[u8], value: &[u8], (name, content): (&[u8], &[u8])) -> Vec<u8> {
    // Attributes, timestamp delta, offset delta.
    let mut record = vec![0; 3];
    for bytes in [key, value] {
        put_bytes(&mut record, bytes);
    }
    put_varint(&mut record, 1);
    for bytes in [name, content] {
        put_bytes(&mut record, bytes);
    }
    let mut whole = Vec::new();
    put_varint(&mut whole, record.len());
    whole.extend(record);
    whole
}

fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(into, bytes.len());
    into.extend(bytes);
}

/// A length as a zigzag varint.
fn put_varint(into: &mut Vec<u8>, length: usize) {
    let mut rest = length << 1;
    while rest > 0x7f {
        into.push(0x80 | rest.to_le_bytes()[0]);
        rest >>= 7;
    }
    into.push(rest.to_le_bytes()[0]);
}

/// The checksum of Castagnoli, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_castagnoli() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn lengths_are_zigzag_varints() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, 300);
        assert_eq!(bytes, [0xd8, 0x04]);
    }
}
