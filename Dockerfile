# Build with `make image`. Nothing is downloaded but crates: the toolchain is the base image's.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# Dependencies first, so that a change of the code does not build them again. The benches are never
# built here, but Cargo.toml names them.
COPY Cargo.toml Cargo.lock build.rs ./
COPY contract/Cargo.toml contract/build.rs contract/
COPY sandbox/Cargo.toml sandbox/
COPY proto proto
RUN mkdir -p src benches contract/src sandbox/src \
    && echo 'fn main() {}' | tee src/main.rs benches/gateway.rs > benches/cache.rs \
    && echo '' | tee src/lib.rs contract/src/lib.rs > sandbox/src/lib.rs \
    && cargo build --locked --release --bin profile-gateway \
    && rm -rf src contract/src sandbox/src
COPY contract/src contract/src
COPY sandbox/src sandbox/src
COPY src src
# Newer than what was built from the placeholders.
RUN touch src/main.rs src/lib.rs contract/src/lib.rs sandbox/src/lib.rs \
    && cargo build --locked --release --bin profile-gateway

FROM debian:bookworm-slim
# Roots for HTTPS to the upstreams.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/release/profile-gateway /usr/local/bin/profile-gateway
# For the store; a volume in its place has its owner.
RUN install -d -m 0700 -o 65532 -g 65532 /var/lib/profile-gateway
USER 65532:65532
# Where the mounted file puts gRPC and probes. The port for operators stays on a loopback address.
# Who may call has to be said there too, in [auth].
EXPOSE 50051 9091
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/profile-gateway"]
CMD ["serve", "--config", "/etc/profile-gateway/gateway.toml"]
