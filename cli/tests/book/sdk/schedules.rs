//! On a clock.
