//! Whose turn is next, on one listener's turns; time stands still unless a test moves it.

use super::*;
use futures_util::FutureExt;

const NOISY: Who = ([1; 32], Class::Usual);
const POLITE: Who = ([2; 32], Class::Usual);
const AMBULANCE: Who = ([3; 32], Class::Emergency);
const OTHER_AMBULANCE: Who = ([4; 32], Class::Emergency);

fn long() -> Duration {
    Duration::from_secs(60)
}

#[tokio::test]
async fn who_floods_waits_behind_itself_alone() {
    let turns = Turns::new(1, long());
    let held = turns.take(NOISY).await.unwrap();
    let mut flood: Vec<_> = (0..100).map(|_| Box::pin(turns.take(NOISY))).collect();
    assert!(flood.iter_mut().all(|f| f.now_or_never().is_none()));
    let mut polite = Box::pin(turns.take(POLITE));
    assert!(polite.as_mut().now_or_never().is_none());
    drop(held);
    let first = flood[0].as_mut().now_or_never().unwrap().unwrap();
    assert!(flood[1].as_mut().now_or_never().is_none() && polite.as_mut().now_or_never().is_none());
    drop(first);
    assert!(polite.now_or_never().is_some(), "behind one of the flood, not behind all of it");
}

#[tokio::test]
async fn who_stops_waiting_costs_nobody_a_turn() {
    let turns = Turns::new(2, long());
    let held = [turns.take(NOISY).await.unwrap(), turns.take(NOISY).await.unwrap()];
    let mut gone = Box::pin(turns.take(NOISY));
    let mut given = Box::pin(turns.take(NOISY));
    let mut stays = Box::pin(turns.take(POLITE));
    assert!(gone.as_mut().now_or_never().is_none() && given.as_mut().now_or_never().is_none());
    assert!(stays.as_mut().now_or_never().is_none());
    drop(gone);
    drop(held);
    // Given, and dropped before it was looked at.
    drop(given);
    let turn = stays.now_or_never().expect("a turn").unwrap();
    assert_eq!((turns.waiting(), turns.lock().usual.at_work), (0, 1));
    drop(turn);
    assert_eq!(turns.lock().usual.at_work, 0);
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_too_long_hears_so_at_once_and_others_are_not_touched() {
    let turns = Turns::new(1, Duration::from_millis(100));
    let mut working = turns.take(NOISY).await.unwrap();
    // Ten milliseconds each: ten may wait.
    let mut waiting: VecDeque<_> = VecDeque::new();
    for _ in 0..2_000 {
        while waiting.len() < 5 {
            let mut one = Box::pin({
                let turns = turns.clone();
                async move { turns.take(NOISY).await }
            });
            assert!(one.as_mut().now_or_never().is_none());
            waiting.push_back(one);
        }
        tokio::time::advance(Duration::from_millis(10)).await;
        drop(working);
        working = waiting.pop_front().unwrap().now_or_never().expect("its turn").unwrap();
    }
    // Four wait already.
    let more = (0..100).map(|_| Box::pin(turns.take(NOISY))).map(|mut one| (one.as_mut().now_or_never(), one));
    let (refused, kept): (Vec<_>, Vec<_>) = more.partition(|(at_once, _)| at_once.is_some());
    assert!(refused.iter().all(|(at_once, _)| matches!(at_once, Some(Err(TooLong(_))))));
    assert!((4..=7).contains(&kept.len()), "{} more may wait", kept.len());
    assert!(turns.take(POLITE).now_or_never().is_none(), "another system waits two turns, not eleven");
    drop(working);
}

#[tokio::test(start_paused = true)]
async fn alone_a_system_may_fill_the_work_and_beside_others_it_leaves_room() {
    let turns = Turns::new(64, long());
    let mut noisy: Vec<_> = (0..64).map(|_| turns.take(NOISY).now_or_never().expect("alone").unwrap()).collect();
    let mut polite = Box::pin(turns.take(POLITE));
    assert!(polite.as_mut().now_or_never().is_none(), "all is taken");
    noisy.pop();
    let polite = polite.now_or_never().expect("the first that is free").unwrap();
    assert!(turns.take(NOISY).now_or_never().is_none(), "no more than its part while another is about");
    noisy.truncate(1);
    let second = turns.take(NOISY).now_or_never().expect("two are its part").unwrap();
    let mut third = Box::pin(turns.take(NOISY));
    assert!(third.as_mut().now_or_never().is_none());
    drop(polite);
    tokio::time::advance(ABOUT * 3).await;
    assert!(third.as_mut().now_or_never().is_none(), "nobody has given a turn back");
    let fourth = turns.take(NOISY);
    drop((noisy, second));
    let _ = third.now_or_never().expect("its turn").unwrap();
    let _ = fourth.now_or_never().expect("alone again").unwrap();
}

type Waiting<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Turn, TooLong>> + 'a>>;

/// So many requests of one system: those that have a turn at once, and those that wait.
fn flood(turns: &Arc<Turns>, who: Who, count: usize) -> (Vec<Turn>, VecDeque<Waiting<'_>>) {
    let (mut working, mut waiting) = (vec![], VecDeque::new());
    for _ in 0..count {
        let mut one: Waiting<'_> = Box::pin(turns.take(who));
        match one.as_mut().now_or_never() {
            Some(turn) => working.push(turn.unwrap()),
            None => waiting.push_back(one),
        }
    }
    (working, waiting)
}

fn given(waiting: &mut VecDeque<Waiting<'_>>) -> Option<Turn> {
    let turn = waiting.front_mut()?.as_mut().now_or_never()?;
    waiting.pop_front();
    Some(turn.unwrap())
}

#[tokio::test]
async fn emergency_care_works_while_all_is_taken_and_has_the_next_turn() {
    let turns = Turns::new(64, long());
    let (mut noisy, mut noisy_waits) = flood(&turns, NOISY, 1_000);
    assert_eq!(noisy.len(), 64, "alone it has all but what is kept");
    let (kept, mut waits) = flood(&turns, AMBULANCE, 9);
    assert_eq!((kept.len(), waits.len()), (8, 1), "what is kept is an eighth more");
    // A thousand wait, some of them for longer.
    noisy.pop();
    let ninth = given(&mut waits).expect("the next turn");
    assert!(given(&mut noisy_waits).is_none());
    drop((ninth, kept));
    assert!(given(&mut noisy_waits).is_none(), "what is kept stays so");
    drop(noisy);
    assert!(given(&mut noisy_waits).is_some());
}

#[tokio::test]
async fn emergency_care_that_floods_leaves_half_to_the_others_and_half_of_its_own_to_another() {
    let turns = Turns::new(64, long());
    let systems: Vec<Who> = (10..60).map(|n| ([n; 32], Class::Usual)).collect();
    let (mut usual, mut usual_wait) = flood(&turns, systems[0], 1);
    let (mut ambulance, mut ambulance_waits) = flood(&turns, AMBULANCE, 500);
    assert_eq!(ambulance.len(), 18, "a quarter of 64 and the 8 that are kept");
    let (mut other, mut other_waits) = flood(&turns, OTHER_AMBULANCE, 500);
    assert_eq!(other.len(), 18, "and the second one finds as much");
    assert!(flood(&turns, ([5; 32], Class::Emergency), 1).0.is_empty(), "half are the class's");
    for system in systems {
        let (working, waiting) = flood(&turns, system, 10);
        usual.extend(working);
        usual_wait.extend(waiting);
    }
    assert_eq!(usual.len(), 36, "and half the others'");
    // Round after round each has what it had, in whatever order they end.
    for round in 0..40 {
        let ends = [&mut ambulance, &mut usual, &mut other];
        drop(ends.into_iter().nth(round % 3).unwrap().remove(0));
        ambulance.extend(given(&mut ambulance_waits));
        other.extend(given(&mut other_waits));
        let mut given_turns = vec![];
        usual_wait.retain_mut(|one| match one.as_mut().now_or_never() {
            Some(turn) => {
                given_turns.push(turn.unwrap());
                false
            }
            None => true,
        });
        usual.extend(given_turns);
        assert!((17..=18).contains(&ambulance.len()) && (17..=18).contains(&other.len()), "round {round}");
        assert_eq!(usual.len(), 36, "round {round}");
    }
}

#[tokio::test]
async fn where_one_works_at_a_time_neither_class_starves_the_other() {
    let turns = Turns::new(1, long());
    let (mut noisy, mut noisy_waits) = flood(&turns, NOISY, 10);
    let (mut ambulance, mut ambulance_waits) = flood(&turns, AMBULANCE, 10);
    assert_eq!((noisy.len(), ambulance.len()), (1, 1));
    for _ in 0..9 {
        (noisy, ambulance) = {
            drop((noisy, ambulance));
            (given(&mut noisy_waits).into_iter().collect(), given(&mut ambulance_waits).into_iter().collect())
        };
        assert_eq!((noisy.len(), ambulance.len()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn how_long_emergency_care_waits_is_foretold_from_its_own_queue() {
    let turns = Turns::new(1, Duration::from_millis(60));
    let (mut noisy, mut noisy_waits) = flood(&turns, NOISY, 6);
    let (mut ambulance, mut ambulance_waits) = flood(&turns, AMBULANCE, 6);
    // Both learn that a turn takes so long that one may wait and not two.
    for _ in 0..2_000 {
        tokio::time::advance(Duration::from_millis(50)).await;
        drop((std::mem::take(&mut noisy), std::mem::take(&mut ambulance)));
        noisy.extend(given(&mut noisy_waits));
        ambulance.extend(given(&mut ambulance_waits));
        for (who, waits) in [(NOISY, &mut noisy_waits), (AMBULANCE, &mut ambulance_waits)] {
            let mut one: Waiting<'_> = Box::pin(turns.take(who));
            if one.as_mut().now_or_never().is_none() {
                waits.push_back(one);
            }
        }
    }
    // The crowd is told to stay away for long.
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(1)).await;
        (0..1_000).for_each(|_| drop(turns.take(NOISY).now_or_never()));
    }
    let Some(Err(TooLong(away))) = turns.take(NOISY).now_or_never() else { panic!("it is refused") };
    assert_eq!(away, Away::MOST);
    assert!(turns.take(OTHER_AMBULANCE).now_or_never().is_none(), "another waits, however long the crowd's queue is");
    let own = turns.take(AMBULANCE).now_or_never().expect("its own queue is long").err();
    assert_eq!(own, Some(TooLong(Away::LEAST)), "and it is told the least");
    drop((noisy, ambulance));
    assert!(given(&mut ambulance_waits).is_some());
}
