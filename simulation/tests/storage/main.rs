//! Storage on disks that fail: whatever was acknowledged is there, and damage is named.

#![expect(clippy::unwrap_used, reason = "tests")]

mod disk;
