//! Undoes the content and transfer codings of a body (RFC 9110, 8.4.1; RFC 9112, 7), within a
//! bound.
//!
//! The HTTP client does not do it: it reads only the exact word `gzip`, and the first member of it.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{
    HeaderMap, HeaderName,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING},
};

/// The coding that replies may have.
pub(super) const ACCEPTED: &str = "gzip";

/// More codings on top of each other than this are an attack or a mistake.
const MAX_CODINGS: usize = 4;

/// Why a body cannot be decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Undecodable {
    /// A coding that is not known here, or too many of them.
    Unknown,
    /// The body is not in the coding that its header names.
    Broken,
    /// The decoded body exceeds the limit.
    TooLarge,
}

/// The body without its codings, at most `limit` bytes.
pub(super) fn decoded(
    headers: &HeaderMap,
    body: Bytes,
    limit: usize,
) -> Result<Bytes, Undecodable> {
    // The last coding was applied last. Transfer codings come on top of content codings.
    let content = tokens(headers, &CONTENT_ENCODING);
    let transfer = tokens(headers, &TRANSFER_ENCODING).filter(|coding| coding != "chunked");
    let codings: Vec<String> =
        content.chain(transfer).filter(|coding| coding != "identity").collect();
    if codings.len() > MAX_CODINGS {
        return Err(Undecodable::Unknown);
    }
    let mut body = body;
    for coding in codings.iter().rev() {
        // Nothing is coded as nothing, also by servers that label every answer.
        if body.is_empty() {
            return Ok(body);
        }
        body = match coding.as_str() {
            "gzip" | "x-gzip" => bounded(MultiGzDecoder::new(&body[..]), limit)?,
            // RFC 9110, 8.4.1.2: some servers omit the wrapper of this format.
            "deflate" => match bounded(ZlibDecoder::new(&body[..]), limit) {
                Err(Undecodable::Broken) => bounded(DeflateDecoder::new(&body[..]), limit)?,
                decoded => decoded?,
            },
            _ => return Err(Undecodable::Unknown),
        };
    }
    Ok(body)
}

/// The length of a body that has none of the framings of HTTP/1.1, but a length beside the obsolete
/// `Transfer-Encoding: identity` (RFC 2616, 3.6). Such a connection may stay open, so waiting for
/// its end may take forever.
pub(super) fn length_beside_identity(headers: &HeaderMap) -> Option<usize> {
    let mut transfer = tokens(headers, &TRANSFER_ENCODING).peekable();
    transfer.peek()?;
    if !transfer.all(|coding| coding == "identity") {
        return None;
    }
    let mut lengths = tokens(headers, &CONTENT_LENGTH);
    let first = lengths.next()?;
    lengths.all(|length| length == first).then(|| first.parse().ok())?
}

/// The comma-separated words of a header, which may be repeated, in lower case.
fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + 'h {
    let values = headers.get_all(name).into_iter();
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let words = values.flat_map(|value| {
        value.split(',').map(|word| word.trim().to_owned()).collect::<Vec<String>>()
    });
    words.filter(|word| !word.is_empty())
}

fn bounded(decoder: impl Read, limit: usize) -> Result<Bytes, Undecodable> {
    let mut body = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = decoder.take(most).read_to_end(&mut body);
    // More than the limit was there, whatever follows.
    if body.len() > limit {
        return Err(Undecodable::TooLarge);
    }
    read.map_err(|_| Undecodable::Broken)?;
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };
    use http::HeaderValue;

    use super::*;

    const LIMIT: usize = 1000;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(text: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(headers: &[(HeaderName, &'static str)], body: &[u8]) -> Result<Bytes, Undecodable> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        decoded(&map, Bytes::copy_from_slice(body), LIMIT)
    }

    #[test]
    fn codings_are_undone_however_they_are_spelled() {
        let text = b"{\"a\":1}";
        let two = [gzip(&text[..3]), gzip(&text[3..])].concat();
        let nested = gzip(&zlib(text));
        for (coding, body) in [
            ("gzip", &gzip(text)),
            ("GZIP", &gzip(text)),
            ("x-gzip", &gzip(text)),
            (" X-GZip ,", &gzip(text)),
            ("gzip", &two),
            ("deflate", &zlib(text)),
            ("Deflate", &deflate(text)),
            ("identity", &text.to_vec()),
            ("", &text.to_vec()),
            ("identity, gzip", &gzip(text)),
            ("deflate, gzip", &nested),
        ] {
            let found = read(&[(CONTENT_ENCODING, coding)], body);
            assert_eq!(found.as_deref(), Ok(&text[..]), "{coding}");
        }
        let lines = [(CONTENT_ENCODING, "deflate"), (CONTENT_ENCODING, "gzip")];
        assert_eq!(read(&lines, &nested).as_deref(), Ok(&text[..]));
        let both = [(CONTENT_ENCODING, "deflate"), (TRANSFER_ENCODING, "gzip, chunked")];
        assert_eq!(read(&both, &nested).as_deref(), Ok(&text[..]));
        assert_eq!(read(&[(CONTENT_ENCODING, "gzip")], b"").as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn what_cannot_be_decoded_is_told_apart() {
        let coded = |coding, body: &[u8]| read(&[(CONTENT_ENCODING, coding)], body);
        let bomb = gzip(&vec![b' '; 10 * LIMIT]);
        assert_eq!(coded("gzip", &bomb), Err(Undecodable::TooLarge));
        assert_eq!(coded("gzip", &gzip(&[b' '; LIMIT])).map(|body| body.len()), Ok(LIMIT));
        assert_eq!(coded("gzip, gzip", &gzip(&bomb)), Err(Undecodable::TooLarge));
        let whole = gzip(b"text");
        for broken in [&b"text"[..], &whole[..whole.len() - 1], &[&whole[..], b"rest"].concat()] {
            assert_eq!(coded("gzip", broken), Err(Undecodable::Broken));
        }
        assert_eq!(coded("deflate", b"text"), Err(Undecodable::Broken));
        assert_eq!(coded("br", b"text"), Err(Undecodable::Unknown));
        assert_eq!(coded("gzip,gzip,gzip,gzip,gzip", b"text"), Err(Undecodable::Unknown));
    }

    #[test]
    fn a_length_counts_beside_identity_alone() {
        for (transfer, lengths, expected) in [
            ("identity", &["7"][..], Some(7)),
            ("Identity", &["7", "7"], Some(7)),
            ("identity", &["7, 7"], Some(7)),
            ("identity", &["7", "8"], None),
            ("identity", &["x"], None),
            ("identity", &[], None),
            ("chunked", &["7"], None),
            ("identity, chunked", &["7"], None),
            ("", &["7"], None),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(TRANSFER_ENCODING, HeaderValue::from_static(transfer));
            for length in lengths {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(length));
            }
            assert_eq!(length_beside_identity(&headers), expected, "{transfer} {lengths:?}");
        }
    }
}
