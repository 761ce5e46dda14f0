//! Scenario scripts: any text is run as a script of the core's tests, on three cores that must agree. A script that makes
//! no sense may fail; the state machine may not.

#![no_main]

#[path = "../../server/core/tests/scripts/answer.rs"]
mod answer;
#[path = "../../server/core/tests/scripts/parse.rs"]
mod parse;
#[path = "../../server/core/tests/scripts/script.rs"]
mod script;
#[path = "../../server/core/tests/support/mod.rs"]
mod support;
#[path = "../../server/core/tests/scripts/together.rs"]
mod together;
#[path = "../../server/core/tests/scripts/words.rs"]
mod words;

use libfuzzer_sys::fuzz_target;
use std::panic::{self, PanicHookInfo};

/// Digits of one number: more make the script allocate what it says, not the state machine.
const DIGITS_MAX: usize = 4;
/// Steps of one script.
const STEPS_MAX: usize = 64;

fuzz_target!(
    init: {
        let abort = panic::take_hook();
        panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if is_of_the_state_machine(info) {
                abort(info);
            }
        }));
    },
    |text: &str| {
        if text.split(|c: char| !c.is_ascii_digit()).any(|number| number.len() > DIGITS_MAX) {
            return;
        }
        // What the hook above lets pass is a script that makes no sense.
        let _ = panic::catch_unwind(|| {
            let mut script = script::Script::default();
            for line in text.lines().take(STEPS_MAX) {
                let code = line.split(['#', '>']).next().unwrap_or_default().trim().trim_end_matches('-').trim();
                if !code.is_empty() {
                    let _ = script.step(code);
                }
            }
        });
    }
);

fn is_of_the_state_machine(info: &PanicHookInfo<'_>) -> bool {
    let file = info.location().map_or("", |location| location.file());
    ["server/core/src", "core/tests/support", "protocol/src"].iter().any(|place| file.contains(place))
}
