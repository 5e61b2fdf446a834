//! The page of metrics: rendered on a thread for blocking work, one at a time, and shared by the readers that came before its
//! rendering began, so that ten readers at once cost as much as two.
//!
//! A page of a thousand transforms takes a part of a second. Nobody gets a page that is older than the request.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::problem::{self, Refusal};

/// The page of metrics, shared by its readers.
#[derive(Default)]
pub struct MetricsPage {
    last: Arc<Mutex<Option<Page>>>,
    /// Pages of a part wait for each other, and not for the whole: the operator's page waits for no team's.
    parts: Arc<Mutex<()>>,
}

struct Page {
    text: Bytes,
    began: Instant,
}

impl MetricsPage {
    /// Returns the page of all series, of a moment after this call.
    pub async fn whole(&self, render: impl FnOnce() -> String + Send + 'static) -> Result<Bytes, Refusal> {
        let arrived = Instant::now();
        let mut last = self.last.clone().lock_owned().await;
        if let Some(page) = last.as_ref().filter(|page| page.began > arrived) {
            return Ok(page.text.clone());
        }
        // The rendering holds the lock to its end, also if its reader hangs up.
        blocking(move || {
            let began = Instant::now();
            let text = Bytes::from(render());
            *last = Some(Page { text: text.clone(), began });
            text
        })
        .await
    }

    /// Returns a page of some series, which is kept for nobody else.
    pub async fn part(&self, render: impl FnOnce() -> String + Send + 'static) -> Result<Bytes, Refusal> {
        let one_at_a_time = self.parts.clone().lock_owned().await;
        blocking(move || {
            let _held = one_at_a_time;
            Bytes::from(render())
        })
        .await
    }
}

async fn blocking(render: impl FnOnce() -> Bytes + Send + 'static) -> Result<Bytes, Refusal> {
    spawn_blocking(render).await.map_err(|error| problem::panicked(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn ten_readers_at_once_cost_two_renderings_at_most() {
        const READERS: usize = 10;
        let page = Arc::new(MetricsPage::default());
        let arrived = Arc::new(AtomicUsize::new(0));
        let renderings = Arc::new(AtomicUsize::new(0));
        let read = |_| {
            let page = page.clone();
            let arrived = arrived.clone();
            let renderings = renderings.clone();
            tokio::spawn(async move {
                arrived.fetch_add(1, Ordering::SeqCst);
                let render = move || {
                    while arrived.load(Ordering::SeqCst) < READERS {
                        std::thread::yield_now();
                    }
                    // A large page takes its time.
                    std::thread::sleep(Duration::from_millis(100));
                    renderings.fetch_add(1, Ordering::SeqCst);
                    "page".to_owned()
                };
                page.whole(render).await.map(|text| text.len()).unwrap_or(0)
            })
        };
        let readers: Vec<_> = (0..READERS).map(read).collect();
        for reader in readers {
            assert_eq!(reader.await.expect("it ends well"), 4);
        }
        let renderings = renderings.load(Ordering::SeqCst);
        assert!((1..=2).contains(&renderings), "{renderings}");
    }

    #[tokio::test]
    async fn nobody_gets_a_page_that_is_older_than_the_request() {
        let page = MetricsPage::default();
        for text in ["first", "second"] {
            let answer = page.whole(move || text.to_owned()).await;
            assert_eq!(answer.map(|text| text.to_vec()).ok().as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(page.part(|| "part".to_owned()).await.map(|text| text.len()).ok(), Some(4));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_reader_that_hangs_up_keeps_its_turn_until_its_page_is_rendered() {
        let page = Arc::new(MetricsPage::default());
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let (began, has_begun) = std::sync::mpsc::channel();
        let first = {
            let page = page.clone();
            tokio::spawn(async move {
                let render = move || {
                    began.send(()).expect("somebody listens");
                    waits.recv().expect("somebody lets it go on");
                    "first".to_owned()
                };
                page.whole(render).await.map(|text| text.len()).unwrap_or(0)
            })
        };
        tokio::task::spawn_blocking(move || has_begun.recv()).await.expect("it ends").expect("it begins");
        first.abort();
        assert!(first.await.is_err_and(|error| error.is_cancelled()));
        assert!(page.last.try_lock().is_err(), "the rendering goes on");
        go_on.send(()).expect("it waits");
        assert_eq!(page.whole(|| "next".to_owned()).await.map(|text| text.len()).ok(), Some(4));
    }

    #[tokio::test]
    async fn a_rendering_that_panics_is_refused_and_tried_again() {
        let page = MetricsPage::default();
        assert!(page.whole(|| panic!("no metrics")).await.is_err());
        assert!(page.whole(|| "text".to_owned()).await.is_ok());
    }
}
