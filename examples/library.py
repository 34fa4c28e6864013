"""The library in ten lines, and a stream in five."""

import torch

import aaren

# A model that reads 16 numbers a step: two Transformer blocks with Aaren in the place of attention.
model = aaren.Encoder(num_layers=2, d_model=16, nhead=4, dim_feedforward=32, layer="aaren").eval()
x = torch.randn(8, 100, 16)

y, state = model(x)  # all 100 steps at once, as in training
head, state = model(x[:, :60])  # the same in chunks ...
tail, state = model(x[:, 60:], state)  # ... with the state carried in the hand
print("chunks differ from the whole by", f"{(torch.cat([head, tail], dim=1) - y).abs().max():.1e}")

stream = aaren.Stream(model, batch_size=8)
for t in range(100):
    out = stream.push(x[:, t])  # one step of eight streams
print("token by token differs by", f"{(out - y[:, -1]).abs().max():.1e}")
print("state:", stream.nbytes // 8, "bytes a stream, whatever its length")
