/* The shortest program that needs a database: its first act is connect. It
 * prints how many microseconds passed until the first byte, and that byte. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	struct timespec began, ended;
	char first = '?';
	int fd;

	clock_gettime(CLOCK_MONOTONIC, &began);
	if (argc != 3 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
		return 2;
	to.sin_port = htons(atoi(argv[2]));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) || read(fd, &first, 1) != 1) {
		perror("first");
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("%ld %c\n",
	       (ended.tv_sec - began.tv_sec) * 1000000 + (ended.tv_nsec - began.tv_nsec) / 1000, first);
	return 0;
}
