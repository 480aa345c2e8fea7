//! The line of each request, as text or as JSON.
//!
//! It has the form of every other log line, but is written directly: under load it is by far the most frequent one, and
//! the general machinery for events would take as long as the download that the line tells of.

use std::{io::Write as _, time::SystemTime};

use humantime::Rfc3339Timestamp;
use serde_json::json;
use tintype_api::{RequestLine, RequestLog};
use tintype_domain::{Clock as _, SystemClock, Timestamp};

use crate::{config::LogFormat, log_writer::LogWriter};

/// What the lines are filed under, as if a module of that name had written them.
const TARGET: &str = "tintype::request";

/// Writes the lines of requests to `writer`.
pub(crate) fn to(writer: LogWriter, format: LogFormat) -> RequestLog {
    Box::new(move |line| {
        let mut text = Vec::with_capacity(256);
        let time = time(SystemClock.now());
        let written = match format {
            LogFormat::Text => write_text(&mut text, &time, line),
            LogFormat::Json => write_json(&mut text, &time, line),
        };
        // Writing to memory cannot fail, and the writer drops what it cannot take.
        let _ = written.and_then(|()| writer.clone().write_all(&text));
    })
}

fn write_text(text: &mut Vec<u8>, time: &Rfc3339Timestamp, line: &RequestLine<'_>) -> std::io::Result<()> {
    let elapsed = line.elapsed.as_micros();
    write!(text, "{time}  INFO {TARGET}: method=")?;
    quoted(text, line.method)?;
    text.extend_from_slice(b" path=");
    quoted(text, line.path)?;
    write!(text, " status={} bytes={} ms={}.{:03}", line.status, line.bytes, elapsed / 1000, elapsed % 1000)?;
    if let Some(requester) = line.requester {
        text.extend_from_slice(b" requester=");
        quoted(text, requester)?;
    }
    write!(text, " address={}", line.address)?;
    if line.cut {
        text.extend_from_slice(b" cut=true");
    }
    text.push(b'\n');
    Ok(())
}

/// The value in quotes. What is the client's could otherwise look like another field, or another line.
fn quoted(text: &mut Vec<u8>, value: &str) -> std::io::Result<()> {
    if value.bytes().any(|b| !b.is_ascii_graphic() || b == b'"' || b == b'\\') {
        return write!(text, "{value:?}");
    }
    text.push(b'"');
    text.extend_from_slice(value.as_bytes());
    text.push(b'"');
    Ok(())
}

fn write_json(text: &mut Vec<u8>, time: &Rfc3339Timestamp, line: &RequestLine<'_>) -> std::io::Result<()> {
    let micros = u32::try_from(line.elapsed.as_micros()).unwrap_or(u32::MAX);
    let mut object = json!({
        "timestamp": time.to_string(),
        "level": "INFO",
        "target": TARGET,
        "method": line.method,
        "path": line.path,
        "status": line.status,
        "bytes": line.bytes,
        "ms": f64::from(micros) / 1000.0,
        "address": line.address,
    });
    if let Some(requester) = line.requester {
        object["requester"] = requester.into();
    }
    if line.cut {
        object["cut"] = true.into();
    }
    serde_json::to_writer(&mut *text, &object)?;
    text.push(b'\n');
    Ok(())
}

/// A time in UTC, to the microsecond, as the other lines have it.
fn time(now: Timestamp) -> Rfc3339Timestamp {
    let since_epoch = now.since(Timestamp(0));
    humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + since_epoch)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line() -> RequestLine<'static> {
        RequestLine {
            method: "GET",
            path: "/a\nb",
            status: 200,
            bytes: 10_240,
            elapsed: Duration::from_micros(12_034),
            requester: Some("@alice:example.org"),
            address: [192, 0, 2, 7].into(),
            cut: true,
        }
    }

    #[test]
    fn a_line_of_text_is_one_line_whatever_the_path_holds() {
        let mut text = Vec::new();

        write_text(&mut text, &time(Timestamp(1_000)), &line()).unwrap();

        assert_eq!(
            String::from_utf8(text).unwrap(),
            "1970-01-01T00:00:01.000000Z  INFO tintype::request: method=\"GET\" path=\"/a\\nb\" status=200 bytes=10240 \
             ms=12.034 requester=\"@alice:example.org\" address=192.0.2.7 cut=true\n"
        );
    }

    #[test]
    fn a_line_of_json_is_an_object_with_numbers() {
        let mut text = Vec::new();

        write_json(&mut text, &time(Timestamp(1_000)), &line()).unwrap();

        let object: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(object["ms"], 12.034);
        assert_eq!(object["status"], 200);
        assert_eq!(object["requester"], "@alice:example.org");
        assert_eq!(object["path"], "/a\nb");
    }
}
