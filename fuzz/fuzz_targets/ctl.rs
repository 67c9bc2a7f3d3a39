#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| meshsim_fuzz::ask("ctl", data));
