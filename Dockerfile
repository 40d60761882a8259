# One image with the three programs: producer, consumer and cronctl. Which one runs is the command:
#
#   docker build -t kafka-cron .
#   docker run --rm kafka-cron consumer --topic cluster-a --brokers kafka-1:9092,kafka-2:9092
#
# Jobs find a minimal Debian: sh and coreutils, but for example no curl. To add more, build on this image:
#
#   FROM kafka-cron
#   USER root
#   RUN apt-get update && apt-get install -y --no-install-recommends curl ca-certificates && rm -rf /var/lib/apt/lists/*
#   USER 10001:10001
#
# Why these bases, this init and this user: docs/decisions/2026-11-24-image.md.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /kafka-cron
# The image needs no debug information, which would be half of it.
ENV CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_STRIP=symbols
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
# The cache mounts keep the built dependencies, so that a change of our code compiles only our crate. `touch` makes sure that
# it is compiled: files from an archive may be older than the last build, and cargo would take them for unchanged.
RUN --mount=type=cache,id=kafka-cron-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=kafka-cron-target,target=/kafka-cron/target,sharing=locked \
    touch src/lib.rs src/bin/*.rs \
    && cargo build --release --locked --bins \
    && install -D -t /programs target/release/producer target/release/consumer target/release/cronctl

FROM debian:bookworm-slim
# tini is process 1: it forwards signals, and reaps processes that jobs leave behind. No other account has the id 10001, here or on
# the host.
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/log/alternatives.log \
    && useradd --uid 10001 --no-log-init --create-home --shell /bin/sh cron
COPY --from=build /programs/ /usr/local/bin/
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /home/cron
# /metrics, /healthz, /readyz
EXPOSE 9100
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["cronctl", "--help"]
