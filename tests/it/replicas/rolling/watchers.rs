//! Watchers behind a load balancer, each of which goes on with its last token when its stream ends.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use profile_gateway::pb::{Profile, profile_service_client::ProfileServiceClient};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::{Code, Status, transport::Channel};

use crate::{
    kit::{gateway::fresh, model},
    replicas::rolling::client,
    watching::stream::{Watch, open_over},
};

/// For a broken program, not for a slow one.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a client asks, by its service config.
const ATTEMPTS: usize = 4;

type Profiles = BTreeMap<String, Profile>;

/// Watchers under way.
pub struct Watchers {
    balancer: SocketAddr,
    all: JoinSet<Followed>,
    /// What each has to see before it ends.
    last: watch::Sender<Option<Profiles>>,
}

/// What a watcher has met.
#[derive(Debug, Default)]
pub struct Followed {
    /// How often its stream ended, and it opened another.
    pub resumed: usize,
    /// How often that one began with all profiles.
    pub snapshots: usize,
}

impl Watchers {
    /// Begins so many, and waits until each knows all profiles.
    pub async fn begin(balancer: SocketAddr, count: usize) -> Self {
        let (begun, mut have_begun) = watch::channel(0);
        let (last, _) = watch::channel(None);
        let client = client(balancer);
        let mut all = JoinSet::new();
        for _ in 0..count {
            all.spawn(follow(client.clone(), begun.clone(), last.subscribe()));
        }
        let all_have = have_begun.wait_for(|begun| *begun == count);
        timeout(PATIENCE, all_have).await.expect("all begin").unwrap();
        Self { balancer, all, last }
    }

    /// Ends when what each has been told makes what a list has now. Nothing may be written any
    /// more.
    pub async fn end(self) -> Vec<Followed> {
        let list = client(self.balancer).list_profiles(fresh(model::list(model::BACKEND))).await;
        let list = list.unwrap().into_inner();
        assert_eq!(list.next_page_token, "", "it is all");
        let profiles = list.profiles.into_iter();
        let profiles = profiles.map(|profile| (profile.name.clone(), profile)).collect();
        self.last.send_replace(Some(profiles));
        let ended = timeout(PATIENCE, self.all.join_all()).await;
        ended.expect("all see the last change")
    }
}

async fn follow(
    client: ProfileServiceClient<Channel>,
    begun: watch::Sender<usize>,
    mut last: watch::Receiver<Option<Profiles>>,
) -> Followed {
    let mut followed = Followed::default();
    let mut stream = begins(&client).await;
    begun.send_modify(|begun| *begun += 1);
    while last.borrow_and_update().as_ref() != Some(&stream.profiles) {
        let told = tokio::select! {
            changed = last.changed() => {
                changed.unwrap();
                continue;
            }
            told = stream.next() => told,
        };
        let Err(status) = told else { continue };
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        followed.resumed += 1;
        stream = match opened(&client, &stream.token).await {
            Ok(mut next) => {
                next.profiles = stream.profiles;
                next
            }
            Err(status) => {
                assert_eq!(status.code(), Code::Aborted, "{status:?}");
                followed.snapshots += 1;
                begins(&client).await
            }
        };
    }
    followed
}

/// A stream that has told all profiles.
async fn begins(client: &ProfileServiceClient<Channel>) -> Watch {
    loop {
        let mut stream = opened(client, "").await.unwrap();
        while !stream.complete {
            let Err(status) = stream.next().await else { continue };
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            break;
        }
        if stream.complete {
            return stream;
        }
    }
}

/// Opens a stream, with the retries of `examples/service_config.json`: one that comes to a
/// connection that is asked to end meanwhile is refused.
async fn opened(client: &ProfileServiceClient<Channel>, token: &str) -> Result<Watch, Status> {
    let mut pause = Duration::from_millis(200);
    for _ in 1..ATTEMPTS {
        match open_over(client.clone(), model::BACKEND, token).await {
            Err(status) if status.code() == Code::Unavailable => sleep(pause).await,
            opened => return opened,
        }
        pause *= 2;
    }
    open_over(client.clone(), model::BACKEND, token).await
}
