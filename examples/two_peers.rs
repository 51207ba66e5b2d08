//! Two peers in one process: found a ring, join it, store a file at one and request it at the other.
//!
//! `cargo run --example two_peers`

use std::sync::Arc;

use quoit::peer::{Progress, Wait};
use quoit::{Entrance, StartOptions, StoreOptions, Wanted, start};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let options = |number: u8, entrance| StartOptions {
        number: Some(number),
        data_dir: Some(dir.path().join(number.to_string())),
        certs_dir: Some(dir.path().join("certs")),
        listen: Some(([127, 0, 0, 1], 0).into()),
        ..StartOptions::new(entrance)
    };
    let first = start(options(80, Entrance::Found)).await?;
    first.wait_active().await?;
    let second = start(options(160, Entrance::Join { known: first.address() })).await?;
    second.wait_active().await?;

    let path = dir.path().join("hello.txt");
    std::fs::write(&path, "hello, ring\n")?;
    let store = StoreOptions { wait: Wait::All, ..StoreOptions::default() };
    let stored = first.store(&path, &store, &Arc::new(Progress::default())).await?;
    println!("stored {} as {} on {} peers", stored.name, stored.content, stored.holders.len());

    let wanted = Wanted::Name(stored.name);
    let received = second.request(&wanted, true, &Arc::new(Progress::default())).await?;
    print!("peer 160 reads: {}", std::fs::read_to_string(received.path.unwrap_or_default())?);

    second.leave().await?;
    first.shutdown().await;
    Ok(())
}
