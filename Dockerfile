# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
# zlib-ng and aws-lc are built from source; nothing else of the system is needed.
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake gcc g++ make libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo ./.cargo
COPY src ./src
# Cargo wants the files of every target it is told of, though none of these is built.
COPY benches ./benches
COPY tests ./tests
# Whatever the sources include by name.
COPY config ./config
COPY migrations ./migrations
COPY templates ./templates
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin doorward \
    && cp target/release/doorward /doorward

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 65532 --home-dir /var/lib/doorward --create-home doorward
COPY --from=build /doorward /usr/local/bin/doorward
USER 65532:65532
WORKDIR /var/lib/doorward
# The gateway, and /metrics /healthz /readyz.
EXPOSE 8080 9180
ENTRYPOINT ["doorward"]
CMD ["serve", "--config", "/etc/doorward/doorward.yaml"]
