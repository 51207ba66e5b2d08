//! Drops what a ring keeps no longer: tombstones that have lived their time, with all that they removed, and versions
//! beyond the ring's number. The rules are in `names::retention` and [`crate::names::Walks`].

use std::sync::Arc;
use std::time::Duration;

use super::absence::{look, most_answer, settle};
use super::env::{Env, HistoryChange};
use super::wait::race;
use crate::chord::PhaseKind;
use crate::names::Walks;
use crate::replica::has_no_vote;
use crate::time::millis;

/// Notes how long this peer is active in its ring, settles an absence, and drops what has lived its time; as long as the
/// peer runs.
pub async fn keep_names<E: Env>(env: Arc<E>) {
    let (terms, mut walks) = (env.name_terms(), Walks::default());
    loop {
        let view = env.view();
        let is_active = view.is_member() && view.phase == PhaseKind::Active;
        let mut is_settled = false;
        if is_active {
            let (life, slack) = (terms.life_ms(env.keep_versions().duration()), terms.slack_ms());
            let is_open = look(&*env).is_open();
            if is_open && let Some(returned) = settle(&env).await {
                walks.returned(env.ring_ms(), &returned, life, slack);
            }
            let now = env.ring_ms();
            is_settled = env.absence().note_active(now);
            if is_settled && let Err(why) = env.write_active(now).await {
                env.warn(format!("the time at which this peer was in its ring is not noted: {why}"));
            }
            let view = env.view();
            let in_touch = is_settled && most_answer(&view) && !has_no_vote(&view, &env.takeover());
            if walks.look(now, in_touch, millis(terms.walk), slack)
                && let Err(why) = walk(&env, now, now.saturating_sub(life)).await
            {
                env.warn(format!("removed names that are to go stay: {why}"));
            }
        }
        let pause = if is_settled { terms.tick } else { OPEN_PAUSE.min(terms.tick) };
        let until = env.now() + pause;
        match is_active {
            true => env.sleep_until(until).await,
            false => {
                race(env.sleep_until(until), env.view_changed(&view)).await;
            }
        }
    }
}

/// Walks through all names, and drops what is dated `gone_before_ms` or earlier and removed, and versions beyond the
/// ring's number.
async fn walk<E: Env>(env: &Arc<E>, now_ms: u64, gone_before_ms: u64) -> Result<(), String> {
    let (terms, versions) = (env.name_terms(), usize::from(env.keep_versions().count));
    // The date comes first: whatever is dropped is then known to be gone.
    env.note_dropped(gone_before_ms, now_ms).await?;
    let mut after = None;
    loop {
        let page = env.histories_after(after, NAMES_PER_PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        let untidy = page.into_iter().filter(|(_, history)| {
            history.as_ref().is_some_and(|history| history.is_untidy(gone_before_ms, versions))
        });
        let tidy = |(key, _)| {
            HistoryChange::new(key, false, move |history| {
                (history.tidy(now_ms, gone_before_ms, versions, &terms), ())
            })
        };
        for tidied in env.update_histories(untidy.map(tidy).collect()).await {
            tidied.map_err(|reason| reason.to_string())?;
        }
    }
}

/// The pause between two looks at an absence that is not settled.
const OPEN_PAUSE: Duration = Duration::from_millis(500);
/// The number of names that are read at a time.
const NAMES_PER_PAGE: usize = 1_000;
