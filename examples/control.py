"""Learn from other people's driving, and drive: trajectories, a wanted return, many carts at once. Needs `tasks`."""

import numpy as np

from aaren import DecisionAgent
from aaren.train import Recipe

# A cart is pushed towards 0: it sees place and speed, a push is between -1 and 1, and every step costs the distance.
random = np.random.default_rng(0)
STEPS = 40


def move(cart, push):
    """Carts (n, 2), pushes (n, 1) -> carts and rewards a step later."""
    place, speed = cart.T
    speed = 0.9 * speed + 0.2 * push[:, 0] + 0.01 * random.normal(size=len(cart))
    return np.stack([place + speed, speed], axis=1), -np.abs(place + speed)


def start(carts):
    return np.stack([random.choice([-3.0, 3.0], carts), np.zeros(carts)], axis=1)


def drive(skill):
    """An episode of a driver, the better the greater the skill; all of them are restless."""
    seen, pushes, rewards = [], [], []
    cart = start(1)
    for _ in range(STEPS):
        push = np.clip(-skill * (0.5 * cart[:, :1] + 1.5 * cart[:, 1:]) + random.normal(0, 0.3, (1, 1)), -1, 1)
        seen.append(cart[0])
        pushes.append(push[0])
        cart, reward = move(cart, push)
        rewards.append(reward[0])
    return np.array(seen), np.array(pushes), np.array(rewards)


episodes = [drive(skill) for skill in random.uniform(-0.2, 1.0, 200)]
returns = [rewards.sum() for _, _, rewards in episodes]
print(f"the drivers: {np.mean(returns):.0f} on average, the best {np.max(returns):.0f}")

recipe = Recipe(updates=300, batch_size=8, learning_rate=3e-3, keep="last")
agent = DecisionAgent(layer="aaren_decay", context=None, d_model=32, recipe=recipe).fit(episodes)

for target in (agent.best_return_, np.mean(returns)):
    stream = agent.stream(target, environments=50)  # constant memory, however long they drive
    carts, reward, total = start(50), None, np.zeros(50)
    for _ in range(STEPS):
        carts, reward = move(carts, stream.act(carts, reward))
        total += reward
    print(f"wanted {target:.0f}, earned {total.mean():.0f} ± {total.std():.0f} in 50 carts")
