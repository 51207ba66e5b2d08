//! Tells the ring whether this peer has room for further files: see [`crate::replica::RoomWord`].

use std::sync::Arc;
use std::time::Duration;

use super::env::Env;

/// Looks at the disk now and then until the peer ends, and says in its pongs whether there is room.
pub async fn tell_room<E: Env>(env: Arc<E>) {
    let mut told = false;
    loop {
        if let Some(room) = env.disk_room().await {
            let full = env.room_word().look(room);
            if full != std::mem::replace(&mut told, full) {
                env.say_full(full).await;
            }
        }
        env.sleep_until(env.now() + LOOK_EVERY).await;
    }
}

/// The time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
