# The collector, and the shell and tar with which kubectl exec and cp bring an
# enrolled agent's keys out: make build, then
# docker build -f deploy/image/collector.Dockerfile -t sluice-collector bin
#
# There are no certificates of authorities in it: people.ca_file must be named.
FROM busybox:1.37
COPY sluice-collector /usr/local/bin/sluice-collector
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/sluice-collector"]
CMD ["run", "--config", "/etc/sluice/collector.yaml"]
