//! Fault plans: any text is read or refused.

#![no_main]

use cuttle_door::FaultPlan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(plan) = FaultPlan::parse(text) {
        assert!(plan.faults().iter().all(|fault| fault.nth > 0));
    }
});
