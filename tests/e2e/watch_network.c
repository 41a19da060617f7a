/* Preloaded into a process: writes every attempt to reach an address outside loopback to the file named by
 * WATCH_NETWORK_LOG, and refuses it. Local (unix) and netlink sockets never leave the machine and pass. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void note(const char *call, const char *where) {
    const char *path = getenv("WATCH_NETWORK_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    if (log) {
        fprintf(log, "%s %s\n", call, where);
        fclose(log);
    }
}

static int leaves(const char *call, const struct sockaddr *address) {
    char text[INET6_ADDRSTRLEN] = "";
    if (!address) return 0;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)address;
        if ((ntohl(four->sin_addr.s_addr) >> 24) == 127) return 0;
        inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
        if (IN6_IS_ADDR_LOOPBACK(&six->sin6_addr)) return 0;
        inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
    } else {
        return 0;
    }
    note(call, text);
    errno = ENETUNREACH;
    return 1;
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    if (leaves("connect", address)) return -1;
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    return real(fd, address, length);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
    if (leaves("sendto", address)) return -1;
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "sendto");
    return real(fd, data, size, flags, address, length);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    if (node && strcmp(node, "localhost") && strncmp(node, "127.", 4) && strcmp(node, "::1")) {
        note("getaddrinfo", node);
        return EAI_FAIL;
    }
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, result);
}
