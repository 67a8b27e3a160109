//! Asks for each URL, one line each, first connecting itself, then by the proxy:
//! ureq reads no variable. Its TLS is rustls with the roots that SSL_CERT_FILE names.
use clients::said;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proxy = ureq::Proxy::new(std::env::var("https_proxy")?)?;
    for agent in [ureq::agent(), ureq::builder().proxy(proxy).build()] {
        for url in std::env::args().skip(1) {
            match agent.get(&url).call() {
                Ok(r) | Err(ureq::Error::Status(_, r)) => said(r.status(), &r.into_string()?),
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}
