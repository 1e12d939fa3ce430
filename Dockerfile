# syntax=docker/dockerfile:1
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libclang-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ENV HOLDFAST_CACHE=/cache
# Dependencies first: they change less often than the code.
COPY Cargo.toml Cargo.lock ./
COPY scripts scripts
RUN mkdir -p src tests/it && echo 'fn main() {}' | tee src/main.rs tests/it/main.rs > /dev/null && touch src/lib.rs \
 && scripts/setup.sh build && . scripts/env.sh && cargo build --release --locked --bin holdfast
COPY . .
RUN . scripts/env.sh && touch src/main.rs src/lib.rs && cargo build --release --locked --bin holdfast \
 && cp "$CARGO_TARGET_DIR/release/holdfast" /holdfast

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl libstdc++6 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --create-home --home-dir /var/lib/holdfast holdfast
COPY --from=build /holdfast /usr/local/bin/holdfast
USER holdfast
WORKDIR /var/lib/holdfast
# Mount the durable store and the data directory; the working directory may be a fast disk that vanishes.
VOLUME ["/var/lib/holdfast"]
ENV HOLDFAST_LISTEN=0.0.0.0:8081 HOLDFAST_DATA_DIR=/var/lib/holdfast/data
EXPOSE 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD curl --fail --silent http://127.0.0.1:8081/readyz || exit 1
STOPSIGNAL SIGTERM
ENTRYPOINT ["holdfast"]
CMD ["serve"]
