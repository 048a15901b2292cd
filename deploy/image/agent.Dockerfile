# The agent alone: make build, then
# docker build -f deploy/image/agent.Dockerfile -t sluice-agent bin
#
# There are no certificates of authorities in it: every ca_file must be named.
FROM scratch
COPY sluice-agent /usr/local/bin/sluice-agent
ENTRYPOINT ["/usr/local/bin/sluice-agent"]
CMD ["run", "--config", "/etc/sluice/agent.yaml"]
