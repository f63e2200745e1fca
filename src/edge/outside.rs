//! Questions that requests have for addresses outside the site, such as what a citizen's log-in at their provider was: a few at once,
//! a few more that wait, since what such a request brought cannot be brought again, and of these no more than half for one share, so
//! that a provider that is slow holds no more than its part of the turns (P6). Time and size of each are the backend's to bound.

use super::protocol::Heard;
use super::tenant::CertificateHash;
use super::thoughts::Crowd;
use std::{future::Future, time::Duration};
use tokio::sync::Semaphore;

/// Asked at once, on one listener.
const AT_ONCE: usize = 16;
/// Asked or waiting: each of them holds one of the listener's turns, of which there are twice as many.
const MOST: usize = 32;
/// Asked or waiting, of one share: many citizens come from behind one address, and each is there for the time of one answer.
const MOST_OF_SHARE: usize = 16;
/// How long one waits: as long as people wait for a page.
const PATIENCE: Duration = Duration::from_secs(5);

/// A listener's.
pub struct Outside {
    places: Semaphore,
    crowd: Crowd,
}

impl Default for Outside {
    fn default() -> Self {
        Outside { places: Semaphore::new(AT_ONCE), crowd: Crowd::new(MOST, MOST_OF_SHARE) }
    }
}

impl Outside {
    /// The answer to a question, which begins when there is a place for it. Where too many wait already, that is told at once.
    pub async fn ask(&self, share: CertificateHash, asking: impl Future<Output = Heard>) -> Heard {
        let Some(_here) = self.crowd.enter(share) else { return Err("busy") };
        match tokio::time::timeout(PATIENCE, self.places.acquire()).await {
            Ok(Ok(_place)) => asking.await,
            _ => Err("busy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Arc;
    use tokio::sync::oneshot;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_for_one_and_a_share_has_no_more_than_its_half() {
        let outside = Arc::new(Outside::default());
        let mut ends = vec![];
        let mut asked = vec![];
        for n in 0..MOST {
            let (end, ended) = oneshot::channel();
            let outside = outside.clone();
            let share = [(n / MOST_OF_SHARE) as u8; 32];
            ends.push(end);
            asked.push(tokio::spawn(async move {
                outside.ask(share, async { ended.await.map(|()| (200, Bytes::new())).map_err(|_| "ended") }).await
            }));
            tokio::task::yield_now().await;
        }
        let at_once = || async { Ok((200, Bytes::new())) };
        assert_eq!(outside.ask([0; 32], at_once()).await, Err("busy"), "its share has what it may have");
        assert_eq!(outside.ask([9; 32], at_once()).await, Err("busy"), "and so have all");
        // Those with a place end, and those behind them get theirs.
        for (end, asked) in ends.into_iter().zip(asked) {
            end.send(()).unwrap();
            assert_eq!(asked.await.unwrap().map(|(status, _)| status), Ok(200));
        }
        assert!(outside.ask([0; 32], at_once()).await.is_ok(), "nobody is counted for ever");
    }
}
