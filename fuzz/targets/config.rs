//! Any configuration file: accepted, or explained with places inside the file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Whatever a reference to the environment asks for is there.
    let environment = |_: &str| Some("value".to_owned());
    // References to files would leave the input; nothing is learned from them.
    if text.contains("file:") {
        return;
    }
    if let Err(diagnostics) = portcullis::config::parse(text, "fuzz/portcullis.toml", &environment)
    {
        assert!(!diagnostics.is_empty(), "refused without a reason");
        for diagnostic in diagnostics {
            assert!(!diagnostic.to_string().is_empty());
        }
    }
});
