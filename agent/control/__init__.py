"""Steering and watching a running agent over a unix socket; who may is decided by the socket's file permissions."""
