//! What the clients print.

/// said prints the status, and the reason where the body says that firma refused.
pub fn said(status: u16, body: &str) {
    let reason = match body.strip_prefix("{\"denied\":true,\"reason\":\"") {
        Some(rest) => rest.split('"').next().unwrap_or_default(),
        None => "ok",
    };
    println!("{status} {reason}");
}
