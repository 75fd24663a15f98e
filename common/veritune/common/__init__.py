"""What both parties sign and how it is hashed and checked. Imports no torch, grpc or scipy."""
