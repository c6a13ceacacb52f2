//! Many reads at once of one profile that is not in the cache.

use crate::{
    Role,
    child::Child,
    load::{CONNECTIONS, Clients},
    roles::SLOW,
};

/// Makes the reads, and prints how often the upstream was asked.
pub(crate) async fn compare(reads: usize) {
    let upstream = Child::role(Role::Upstream, "");
    let url = format!("http://{}", upstream.address);
    let gateway = Child::gateway(&url);
    let clients = Clients::connect(&gateway.address).await;
    let before = gateway.cpu();
    clients.get_at_once(SLOW, reads).await;
    let cpu = gateway.cpu() - before;
    let asked = reqwest::get(format!("{url}/slow")).await.unwrap().text().await.unwrap();
    println!(
        "\n{reads} reads at once of one profile that is not in the cache, over {CONNECTIONS} \
         connections: upstream asked {asked} time(s), {} ms CPU of the gateway\n",
        cpu.as_millis()
    );
}
