//! What the admin port shows of upstreams.

use super::*;

#[test]
fn every_name_is_there() {
    let mut registry = Registry::new("1.2.3");
    let backend = UpstreamMetrics::register(&mut registry).backend(&"sft".into());
    backend.request("get", RequestOutcome::Success, Duration::from_secs(1));
    backend.login(LoginOutcome::LoggedIn);
    backend.retried("get");
    backend.over_budget();
    backend.shed(Shed::Full);
    backend.queued(3);
    backend.queued(-1);
    backend.in_flight(1);
    backend.throttled();
    backend.rate(12.5);
    backend.window(WindowName::Logins, [7, 93], Some(Duration::from_secs(9)));
    backend.window(WindowName::Requests, [0, 10], Some(Duration::from_secs(9)));
    backend.window(WindowName::Requests, [1, 9], None);
    for state in [Circuit::Closed, Circuit::Open, Circuit::HalfOpen, Circuit::HalfOpen] {
        backend.circuit(state);
    }
    let shown = registry.encode();
    for line in [
        r#"upstream_requests_total{backend="sft",operation="get",outcome="2xx"} 1"#,
        r#"upstream_request_duration_seconds_sum{backend="sft"} 1.0"#,
        r#"upstream_logins_total{backend="sft",outcome="logged_in"} 1"#,
        r#"upstream_retries_total{backend="sft",operation="get"} 1"#,
        r#"upstream_retries_over_budget_total{backend="sft"} 1"#,
        r#"upstream_shed_total{backend="sft",why="queue_full"} 1"#,
        r#"upstream_queued{backend="sft"} 2"#,
        r#"upstream_in_flight{backend="sft"} 1"#,
        r#"upstream_throttled_total{backend="sft"} 1"#,
        r#"upstream_rate_limit{backend="sft"} 12.5"#,
        r#"upstream_window_used{backend="sft",window="logins"} 7"#,
        r#"upstream_window_remaining{backend="sft",window="logins"} 93"#,
        r#"upstream_window_exhausted_in_seconds{backend="sft",window="logins"} 9.0"#,
        r#"upstream_window_remaining{backend="sft",window="requests"} 9"#,
        r#"upstream_circuit_state{backend="sft"} 1"#,
        r#"upstream_circuit_transitions_total{backend="sft",to="open"} 1"#,
        r#"upstream_circuit_transitions_total{backend="sft",to="half_open"} 1"#,
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
    assert!(!shown.contains(r#"exhausted_in_seconds{backend="sft",window="requests""#));
    let closed = r#"upstream_circuit_transitions_total{backend="sft",to="closed"} 0"#;
    assert!(shown.contains(closed), "it was closed from the beginning");
}
