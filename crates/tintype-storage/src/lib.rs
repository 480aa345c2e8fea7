//! Where things are kept: [`records`] say what exists and whose it is, [`blobs`] hold the bytes.
//!
//! Neither knows a rule of Matrix. The order that makes an upload safe is the caller's to keep: bytes on stable
//! storage first, then the record, then the answer.

#![cfg_attr(test, expect(clippy::duplicate_mod, reason = "unit tests of records run on two engines"))]

pub mod blobs;
pub mod records;
