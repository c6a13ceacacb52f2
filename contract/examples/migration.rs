//! What it would take to move all profiles of one backend to another: asks a running gateway to
//! translate each of them and prints the plan. Nothing is written.
//!
//! ```text
//! profile-gateway &
//! cargo run -p profile-gateway-contract --example migration -- \
//!     http://127.0.0.1:50051 backends/sft backends/endpoint
//! ```

use std::{env, error::Error, fmt::Write};

use profile_gateway_contract::{
    ListProfilesRequest, Note, NoteKind, Profile, TranslateProfileRequest,
    profile_service_client::ProfileServiceClient,
};
use tonic::transport::{Channel, Endpoint};

type Client = ProfileServiceClient<Channel>;

#[tokio::main]
#[allow(
    clippy::print_stdout,
    dead_code,
    reason = "the plan is what it is for; a test uses the rest"
)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, from, to] = arguments.as_slice() else {
        return Err("usage: migration ADDRESS FROM TO, such as \
                    http://127.0.0.1:50051 backends/sft backends/endpoint"
            .into());
    };
    let channel = Endpoint::new(address.clone())?.connect().await?;
    println!("{}", plan(ProfileServiceClient::new(channel), from, to).await?);
    Ok(())
}

/// The plan as a table: one line for each profile, and one below it for each note.
pub(crate) async fn plan(
    mut client: Client,
    from: &str,
    to: &str,
) -> Result<String, Box<dyn Error>> {
    let mut table = format!("{:<34} {:<28} {:>5}  verdict\n", "profile", "display name", "calls");
    let (mut clean, mut refused, mut total) = (0, 0, 0);
    for profile in profiles(&mut client, from).await? {
        let request =
            TranslateProfileRequest { name: profile.name.clone(), target_backend: to.to_owned() };
        let answer = client.translate_profile(request).await?.into_inner();
        let verdict = verdict(&answer.notes);
        total += 1;
        clean += u32::from(verdict == "as it is");
        refused += u32::from(verdict == "refused");
        let (name, calls) = (&profile.display_name, answer.upstream_calls.len());
        writeln!(table, "{:<34} {name:<28.28} {calls:>5}  {verdict}", profile.name)?;
        for note in &answer.notes {
            let kind = note.kind().as_str_name().trim_start_matches("NOTE_KIND_").to_lowercase();
            writeln!(table, "    {kind}: {}: {}", note.field, note.description)?;
        }
    }
    write!(
        table,
        "{total} profiles: {clean} as they are, {refused} refused, the others with changes"
    )?;
    Ok(table)
}

/// All profiles of a backend, page by page.
async fn profiles(client: &mut Client, parent: &str) -> Result<Vec<Profile>, tonic::Status> {
    let mut all = Vec::new();
    let mut request = ListProfilesRequest { parent: parent.to_owned(), ..Default::default() };
    loop {
        let page = client.list_profiles(request.clone()).await?.into_inner();
        all.extend(page.profiles);
        if page.next_page_token.is_empty() {
            return Ok(all);
        }
        request.page_token = page.next_page_token;
    }
}

fn verdict(notes: &[Note]) -> &'static str {
    let has = |kind: NoteKind| notes.iter().any(|note| note.kind() == kind);
    match (has(NoteKind::Refused), notes.is_empty()) {
        (true, _) => "refused",
        (false, true) => "as it is",
        (false, false) => "with changes",
    }
}
