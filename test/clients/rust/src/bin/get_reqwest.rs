//! Asks for each URL, one line each, by reqwest: hyper and rustls, HTTP/2 where it is
//! offered, the proxy by the variables.
use clients::said;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // An origin of HTTP/2 is spoken to in it, or the test says so.
    let client = reqwest::blocking::Client::builder().build()?;
    for url in std::env::args().skip(1) {
        let r = client.get(&url).send()?;
        assert_eq!(r.version(), reqwest::Version::HTTP_2);
        said(r.status().as_u16(), &r.text()?);
    }
    Ok(())
}
